"""Which endpoints of a destination take requests: those that nothing stands against, or in a panic all of them.

When most endpoints seem to be bad, what is bad may be the checks; and the few that are left would fall under the load
of all. So below the *panic threshold* verdicts do not count any more.
"""

from __future__ import annotations

from collections.abc import Sequence


def is_panic(available: int, count: int, threshold: int) -> bool:
    """Tell whether *available* of *count* endpoints are less than *threshold* percent; 0 percent = never."""
    return available * 100 < threshold * count


def usable(available: Sequence[bool], threshold: int) -> list[int]:
    """Return the indexes of the endpoints that take requests, given which are *available*.

    Below *threshold* percent they are all; without a threshold there may be none.
    """
    good = [index for index, is_available in enumerate(available) if is_available]
    if len(good) < len(available) and is_panic(len(good), len(available), threshold):
        return list(range(len(available)))
    return good
