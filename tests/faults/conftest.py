"""The lab of a test module, as for the tests of the whole."""

from tests.e2e.conftest import lab, site

__all__ = ["lab", "site"]
