"""A mark for tests that need the training libraries."""

from importlib.util import find_spec

import pytest

needs_training = pytest.mark.skipif(find_spec("trl") is None, reason="needs `make train`")
"""Looks for one of the libraries without importing it: every process would spend seconds on it."""
