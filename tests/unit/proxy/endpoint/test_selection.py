"""What the selectors of endpoints choose, by real requests over no network."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from random import Random
from typing import Any, TypeAlias

import pytest

from tests.support.balancing import maglev, ring
from tests.support.client_request import client_request
from vrata.policy.balancing.peak_ewma import PeakEwma
from vrata.policy.balancing.rotation import Rotation
from vrata.policy.session_cookie import SessionCookie
from vrata.proxy.endpoint.hash_key import AddressSource, CookieSource, HashKey, HeaderSource
from vrata.proxy.endpoint.hashed import HashSelector
from vrata.proxy.endpoint.loaded import LeastRequestSelector, PeakEwmaSelector
from vrata.proxy.endpoint.selection import (
    Endpoint,
    EndpointSelector,
    RandomSelector,
    RoundRobinSelector,
    WeightedRoundRobinSelector,
)


class Backend:
    """Stands for a pool."""

    def __init__(self) -> None:
        self.in_flight = 0


Backends: TypeAlias = Sequence[Endpoint[Backend]]


def endpoints(*weights: int) -> list[Endpoint[Backend]]:
    return [Endpoint(f"10.0.0.{number}:80", Backend(), weight) for number, weight in enumerate(weights)]


def pools(of: Backends) -> list[Backend]:
    return [endpoint.pool for endpoint in of]


def latencies(of: Backends) -> list[PeakEwma]:
    return [PeakEwma() for _ in of]


def identities(of: Backends) -> list[bytes]:
    return [endpoint.identifier.encode() for endpoint in of]


KEY = HashKey([], "d")
SELECTORS: dict[str, Callable[[Backends], EndpointSelector[Backend]]] = {
    "round robin": lambda of: RoundRobinSelector(of, Rotation()),
    "weighted round robin": lambda of: WeightedRoundRobinSelector(of, Random(1)),
    "random": lambda of: RandomSelector(of, Random(1)),
    "least request": lambda of: LeastRequestSelector(of, pools(of), 2, Random(1)),
    "peak ewma": lambda of: PeakEwmaSelector(of, pools(of), latencies(of), Random(1), lambda: 0.0),
    "ring": lambda of: HashSelector(of, ring(identities(of), [each.weight for each in of]), KEY),
    "maglev": lambda of: HashSelector(of, maglev(identities(of), [each.weight for each in of], 1021), KEY),
}
EACH = pytest.mark.parametrize("make", SELECTORS.values(), ids=SELECTORS)


@EACH
@pytest.mark.parametrize("weights", [(1, 1, 1, 1), (1, 2, 3, 4)])
def test_others_are_those_that_were_not_tried(
    make: Callable[[Backends], EndpointSelector[Backend]], weights: tuple[int, ...]
) -> None:
    selector = make(endpoints(*weights))
    request = client_request()
    first = selector.pick(request)
    assert first is not None
    tried = [first.identifier]
    for _ in weights[1:]:
        other = selector.pick_other(request, tried)
        assert other is not None
        assert other.identifier not in tried
        tried.append(other.identifier)
    assert selector.pick_other(request, tried) is None


@EACH
def test_one_endpoint_is_always_picked(make: Callable[[Backends], EndpointSelector[Backend]]) -> None:
    (only,) = some = endpoints(3)
    selector = make(some)
    assert {selector.pick(client_request(peer=f"10.1.1.{number}")) for number in range(9)} == {only}


@pytest.mark.parametrize("name", ["weighted round robin", "random", "least request", "peak ewma"])
def test_shares_follow_the_weights(name: str) -> None:
    selector = SELECTORS[name](endpoints(1, 2, 7))
    request = client_request()
    seen = Counter(found.identifier for _ in range(10_000) if (found := selector.pick(request)) is not None)
    assert [round(seen[f"10.0.0.{number}:80"] / 1000) for number in range(3)] == [1, 2, 7]


def test_the_least_busy_is_taken_and_whoever_tries_again_looks_at_all() -> None:
    some = endpoints(1, 1, 1)
    selector = LeastRequestSelector(some, pools(some), 3, Random(1))
    for endpoint, load in zip(some, (5, 1, 3), strict=True):
        endpoint.pool.in_flight = load
    assert selector.pick(client_request()) is some[1]
    assert selector.pick_other(client_request(), [some[1].identifier]) is some[2]


def test_the_slow_one_is_avoided_until_it_is_forgotten() -> None:
    some = endpoints(1, 1)
    now, times = 0.0, latencies(some)
    selector = PeakEwmaSelector(some, pools(some), times, Random(1), lambda: now)
    times[0].observe(0.2, 0.0)
    times[1].observe(0.01, 0.0)
    assert {selector.pick(client_request()) for _ in range(50)} == {some[1]}
    some[1].pool.in_flight = 30
    assert {selector.pick(client_request()) for _ in range(50)} == {some[0]}
    some[1].pool.in_flight = 0
    now = 1000.0
    assert {selector.pick(client_request()) for _ in range(50)} == set(some)


# -- what is hashed ---------------------------------------------------------------------------------------------------

PIN = SessionCookie("pin", 60.0)


def key_of(request: Any, *sources: Any, destination: str = "d") -> int:
    return HashKey(sources, destination).of(request, sets_cookies=False)


def test_the_first_source_that_says_something_decides() -> None:
    sources = (HeaderSource("X-User"), CookieSource(PIN), AddressSource())
    by_header = key_of(client_request(b"x-user: ann", b"cookie: pin=a"), *sources)
    assert by_header == key_of(client_request(b"X-User:  ann", b"x-user: bob", peer="10.0.0.9"), *sources)
    by_cookie = key_of(client_request(b"x-user:", b"cookie: pin=a"), *sources)
    assert by_cookie == key_of(client_request(b"cookie: pin=a", peer="10.0.0.9"), *sources)
    by_address = key_of(client_request(peer="10.0.0.9"), *sources)
    assert by_address == key_of(client_request(peer="10.0.0.9"))
    assert len({by_header, by_cookie, by_address, key_of(client_request(), *sources)}) == 4


def test_destinations_choose_independently() -> None:
    assert key_of(client_request()) != key_of(client_request(), destination="e")


def test_bytes_that_are_no_text_are_hashed_too() -> None:
    names = [b"\xff", b"\xfe", "é".encode()]
    keys = {key_of(client_request(b"x-user: " + name), HeaderSource("x-user")) for name in names}
    assert len(keys) == 3


def test_a_session_begins_once_and_its_cookie_is_set_once() -> None:
    request = client_request()
    key = HashKey([CookieSource(PIN)], "d")
    assert key.of(request, sets_cookies=False) == key_of(request)
    assert request.response_lines == b""
    first = key.of(request, sets_cookies=True)
    assert first == key.of(request, sets_cookies=True) != key_of(request)
    assert request.response_lines.count(b"set-cookie: pin=") == 1
    assert b"Secure" not in request.response_lines
    value = request.response_lines.partition(b"pin=")[2].partition(b";")[0]
    assert len(value) == 32
    assert set(value) <= set(b"0123456789abcdef")
    assert first == key.of(client_request(b"cookie: pin=" + value, peer="10.9.9.9"), sets_cookies=True)


def test_a_cookie_over_tls_is_for_tls_alone() -> None:
    request = client_request(scheme="https")
    request.session(PIN)
    assert request.response_lines.endswith(b"; SameSite=Lax; Secure\r\n")


def test_each_client_has_a_session_of_its_own() -> None:
    assert len({client_request().session(PIN) for _ in range(100)}) == 100
