"""Programs that some tests run and a machine may lack; CI has them all."""

import shutil

import pytest


def needs(*programs: str) -> pytest.MarkDecorator:
    """A mark that skips the test where a program is missing, and names what is missing."""
    missing = [name for name in programs if shutil.which(name) is None]
    return pytest.mark.skipif(bool(missing), reason=f"needs {', '.join(missing)} on PATH")
