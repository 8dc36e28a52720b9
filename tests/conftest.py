"""What all tests have in common: a process in which thousands of them have been collected."""

from __future__ import annotations

import gc

from hypothesis import HealthCheck, settings

# How long an example takes is the machine's affair: on a busy one any of them may take longer than the default allows.
settings.register_profile("any-machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any-machine")


def pytest_collection_finish() -> None:
    """Leave what was collected to be: whoever has garbage looked for would wait for a look at all tests."""
    gc.collect()
    gc.freeze()
