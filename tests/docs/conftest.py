"""Pages run on an installation of their own, as the integration tests do."""

from tests.integration.conftest import installation

__all__ = ["installation"]
