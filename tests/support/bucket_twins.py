"""The two implementations of the slots that shared buckets lie in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module

from vrata.proxy.runtime import interpreted_buckets, shared_buckets

try:
    TWINS = {"compiled": import_module("vrata.proxy.runtime.compiled_buckets"), "interpreted": interpreted_buckets}
except ImportError:  # no compiler was at hand
    TWINS = {"interpreted": interpreted_buckets}


@contextmanager
def using_twin(name: str) -> Iterator[None]:
    """Tables that are opened meanwhile use that one."""
    names = vars(shared_buckets)
    before = names["BucketSlots"]
    names["BucketSlots"] = TWINS[name].BucketSlots
    try:
        yield
    finally:
        names["BucketSlots"] = before
