from __future__ import annotations

from typing import Any

from vrata.model.destination import Destination
from vrata.policy.known_endpoints import known_endpoints


def destination(*endpoints: dict[str, Any], discovery: str | None = "dns") -> Destination:
    options = {} if discovery is None else {"discovery": {"type": discovery}}
    document = {
        "id": "d1",
        "name": "d1",
        "host": "a.test",
        "port": 80,
        "endpoints": list(endpoints),
        "options": options,
    }
    return Destination.model_validate(document)


def known(destination: Destination, *found: tuple[str, int]) -> list[tuple[str, int]]:
    return [(endpoint.address, endpoint.weight) for endpoint in known_endpoints(destination, found)]


LISTED = {"host": "192.0.2.5", "port": 80, "weight": 7}


def test_as_long_as_nothing_is_known_they_are_what_is_configured() -> None:
    assert known_endpoints(destination(LISTED), None) == destination(LISTED).endpoints
    assert [endpoint.address for endpoint in known_endpoints(destination(), None)] == ["a.test:80"]


def test_what_is_found_in_the_dns_joins_those_that_are_listed() -> None:
    found = [("192.0.2.9", 80), ("192.0.2.5", 80), ("192.0.2.1", 80), ("192.0.2.1", 80)]
    assert known(destination(LISTED), *found) == [("192.0.2.1:80", 1), ("192.0.2.5:80", 7), ("192.0.2.9:80", 1)]


def test_an_address_is_the_same_however_it_is_written() -> None:
    assert known(destination({"host": "2001:DB8:0::1", "port": 80, "weight": 2}), ("2001:db8::1", 80)) == [
        ("[2001:DB8:0::1]:80", 2)
    ]


def test_another_port_is_another_endpoint() -> None:
    assert len(known(destination({"host": "192.0.2.1", "port": 81}), ("192.0.2.1", 80))) == 2


def test_known_to_be_none_leaves_those_that_are_listed() -> None:
    assert known(destination()) == []
    assert known(destination(LISTED)) == [("192.0.2.5:80", 7)]


def test_what_is_found_elsewhere_takes_the_place_of_those_that_are_listed() -> None:
    listed = destination(LISTED, discovery="kubernetes")
    assert known(listed, ("192.0.2.1", 8080)) == [("192.0.2.1:8080", 1)]
    assert known(listed) == []
