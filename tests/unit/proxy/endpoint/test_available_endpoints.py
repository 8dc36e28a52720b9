"""Selectors pass over what is not available, whatever the algorithm, and go back to it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest

from tests.support.client_request import client_request
from tests.unit.proxy.endpoint.test_selection import SELECTORS, Backend, Backends, endpoints
from vrata.proxy.endpoint.live_standing import LiveStanding
from vrata.proxy.endpoint.selection import EndpointSelector
from vrata.proxy.standing import DestinationStanding, EndpointStanding

Make = Callable[[Backends], EndpointSelector[Backend]]
EACH = pytest.mark.parametrize("make", SELECTORS.values(), ids=SELECTORS)


def standing(*bad: int, ejected: tuple[int, ...] = ()) -> DestinationStanding:
    found = {f"10.0.0.{number}:80": EndpointStanding(unhealthy="status 503") for number in bad}
    found |= {f"10.0.0.{number}:80": EndpointStanding(ejected="5 failures", ejected_until=9.0) for number in ejected}
    return DestinationStanding(found)


def picked(selector: EndpointSelector[Backend]) -> set[str]:
    """What many requests of different clients are given."""
    found = (selector.pick(client_request(peer=f"10.1.{n // 250}.{n % 250}")) for n in range(500))
    return {endpoint.identifier for endpoint in found if endpoint is not None}


@EACH
@pytest.mark.parametrize("weights", [(1, 1, 1, 1), (1, 2, 3, 4)])
def test_what_is_not_available_is_passed_over_until_it_is_again(make: Make, weights: tuple[int, ...]) -> None:
    selector, live = make(endpoints(*weights)), LiveStanding()
    everyone = {f"10.0.0.{number}:80" for number in range(4)}
    selector.follow(live, 1)
    assert picked(selector) == everyone
    live.replace(standing(1, ejected=(2,)))
    assert picked(selector) == {"10.0.0.0:80", "10.0.0.3:80"}
    live.replace(DestinationStanding())
    assert picked(selector) == everyone


@EACH
def test_a_further_attempt_does_not_go_to_what_is_not_available(make: Make) -> None:
    selector, live = make(endpoints(1, 1, 1)), LiveStanding(standing(1))
    selector.follow(live, 1)
    request = client_request()
    first = selector.pick(request)
    assert first is not None
    other = selector.pick_other(request, [first.identifier])
    assert other is not None
    assert {first.identifier, other.identifier} == {"10.0.0.0:80", "10.0.0.2:80"}
    assert selector.pick_other(request, [first.identifier, other.identifier]) is None


@EACH
def test_when_none_is_available_all_take_requests(make: Make) -> None:
    selector, live = make(endpoints(1, 1)), LiveStanding(standing(0, ejected=(1,)))
    selector.follow(live, 1)
    assert picked(selector) == {"10.0.0.0:80", "10.0.0.1:80"}
    assert selector.is_panic
    assert "panic" in repr(selector)


@EACH
def test_without_a_panic_threshold_none_does(make: Make) -> None:
    selector, live = make(endpoints(1, 1)), LiveStanding(standing(0, 1))
    selector.follow(live, 0)
    assert selector.pick(client_request()) is None
    assert selector.pick_other(client_request(), []) is None
    assert not selector.has_usable
    assert not selector.is_panic


@pytest.mark.parametrize(("bad", "panics"), [(1, False), (2, False), (3, True)])
def test_the_panic_threshold_is_a_percentage(bad: int, panics: bool) -> None:
    selector, live = SELECTORS["round robin"](endpoints(1, 1, 1, 1)), LiveStanding(standing(*range(bad)))
    selector.follow(live, 50)
    assert selector.is_panic == panics
    assert len(picked(selector)) == (4 if panics else 4 - bad)


@pytest.mark.parametrize("name", ["ring", "maglev"])
def test_only_keys_of_what_is_not_available_move(name: str) -> None:
    selector, live = SELECTORS[name](endpoints(1, 1, 1, 1)), LiveStanding()
    selector.follow(live, 1)
    requests = [client_request(peer=f"10.2.0.{number}") for number in range(200)]

    def places() -> list[str]:
        return [found.identifier for each in requests if (found := selector.pick(each)) is not None]

    before = places()
    live.replace(standing(2))
    after = places()
    moved = Counter(then for then, now in zip(before, after, strict=True) if then != now)
    assert set(moved) == {"10.0.0.2:80"}
    assert len(set(after)) == 3
    live.replace(DestinationStanding())
    assert places() == before


def test_the_census_says_what_stands_against_whom() -> None:
    selector, live = SELECTORS["round robin"](endpoints(1, 1, 1)), LiveStanding(standing(0, ejected=(2,)))
    selector.follow(live, 1)
    entries = [(entry.endpoint, entry.verdict, entry.reason) for entry in selector.census()]
    assert entries == [
        ("10.0.0.0:80", "unhealthy", "status 503"),
        ("10.0.0.1:80", "available", ""),
        ("10.0.0.2:80", "ejected", "5 failures"),
    ]
