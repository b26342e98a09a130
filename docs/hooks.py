"""Build hooks of the documentation site.

Pages are read on the repository's host as well as on the site. Links that leave `docs/` work only on the host, so the
site shows their target as a path instead.
"""

import re
from typing import Any


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Return the page with links out of `docs/` replaced by their text and path."""
    up = r"\.\./" * (page.file.src_uri.count("/") + 1)
    return re.sub(rf"\[([^\]]+)\]\({up}([^)#]+)[^)]*\)", lambda link: f"{link[1]} (`{link[2]}`)", markdown)
