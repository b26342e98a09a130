"""`python -m stack`."""

from __future__ import annotations

import sys

from stack.cli import main

sys.exit(main())
