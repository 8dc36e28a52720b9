"""What endpoints carry, from a worker's hand-over to the sum of all workers."""

from __future__ import annotations

from dataclasses import dataclass

from vrata.proxy.metrics import handover
from vrata.proxy.metrics.loads import EndpointLoads, carried
from vrata.proxy.metrics.totals import Totals


def handed_over(**loads: EndpointLoads) -> bytes:
    return b"\n".join(line for line, _ in (handover.load(name, endpoints) for name, endpoints in loads.items()))


@dataclass(frozen=True)
class Pool:
    in_flight: int
    connections: int


def test_a_worker_names_the_endpoints_that_are_not_idle() -> None:
    pools = {
        ("d", "::1", 80): Pool(2, 1),
        ("d", "b", 80): Pool(0, 1),
        ("d", "c", 80): Pool(0, 0),
        ("e", "c", 1): Pool(0, 0),
    }
    assert carried(pools) == {"d": {"[::1]:80": (2, 1), "b:80": (0, 1)}}


def test_loads_are_summed_without_any_listener_that_counts() -> None:
    totals = Totals()
    totals.add("one", handed_over(d={"a:1": (2, 3)}, e={"b:1": (0, 1)}))
    totals.add("two", handed_over(d={"a:1": (1, 1), "c:1": (1, 1)}))
    assert totals.loads.of("d") == {"a:1": (3, 4), "c:1": (1, 1)}
    assert dict(totals.loads.of("e")) == {"b:1": [0, 1]}
    assert totals.loads.of("nobody") == {}


def test_a_hand_over_replaces_the_one_before() -> None:
    totals = Totals()
    totals.add("one", handed_over(d={"a:1": (2, 3)}))
    totals.add("one", handed_over(d={"b:1": (1, 1)}))
    assert dict(totals.loads.of("d")) == {"b:1": [1, 1]}
    totals.add("one", b"")
    assert totals.loads.of("d") == {}


def test_a_worker_that_has_ended_carries_nothing() -> None:
    totals = Totals()
    totals.add("one", handed_over(d={"a:1": (2, 3)}))
    totals.add("two", handed_over(d={"a:1": (1, 1)}))
    totals.forget("one")
    assert dict(totals.loads.of("d")) == {"a:1": [1, 1]}


def test_loads_count_for_nothing_that_would_have_a_hand_over_sent_for_its_own_sake() -> None:
    line, has_counts = handover.load("d", {"a:1": (2, 3)})
    assert line == b'["load","d",{"a:1":[2,3]}]'
    assert not has_counts
