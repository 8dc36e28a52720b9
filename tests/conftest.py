"""What all tests have in common: a process in which thousands of them have been collected."""

from __future__ import annotations

import gc


def pytest_collection_finish() -> None:
    """Leave what was collected to be: whoever has garbage looked for would wait for a look at all tests."""
    gc.collect()
    gc.freeze()
