"""What is kept of endpoints that have gone."""

from __future__ import annotations

from vrata.proxy.watch.kept import KEPT_AT_MOST, KEPT_FOR, Kept


def test_a_state_is_given_back_once_and_within_its_time() -> None:
    kept: Kept[str] = Kept()
    kept.keep("a", "state", 100.0)
    assert kept.take("a", 100.0 + KEPT_FOR - 1) == "state"
    assert kept.take("a", 100.0) is None
    kept.keep("a", "state", 100.0)
    assert kept.take("a", 100.0 + KEPT_FOR) is None
    kept.keep("a", "state", 100.0, until=10_000.0)
    assert kept.take("a", 9_999.0) == "state"


def test_no_more_are_kept_than_the_bound_and_the_oldest_go() -> None:
    kept: Kept[int] = Kept()
    for number in range(KEPT_AT_MOST + 2):
        kept.keep(str(number), number, 0.0)
    kept.keep("2", 2, 0.0)
    assert [kept.take(name, 1.0) for name in ("0", "1", "2", "3")] == [None, None, 2, 3]
    assert repr(kept) == f"<Kept {KEPT_AT_MOST - 2}>"
