from __future__ import annotations

import json
import re

import pytest

from vrata.proxy.contracts import Failure, FailureClass
from vrata.proxy.failures import renderer

FAILURE = Failure(FailureClass.CONNECTION_REFUSED, "users", "127.0.0.1:9")


@pytest.mark.parametrize(
    ("detail", "members"),
    [
        ("minimal", ["error", "status"]),
        ("standard", ["error", "status", "message"]),
        ("full", ["error", "status", "message", "destination", "endpoint", "timestamp"]),
    ],
)
def test_each_level_has_its_members_in_order(detail: str, members: list[str]) -> None:
    response = renderer(detail)(FAILURE)
    assert list(json.loads(response.body)) == members
    assert response.status == 502
    assert response.body.endswith(b"}\n")
    assert response.fields == b"content-type: application/json\r\n"


def test_full_leaves_out_what_was_never_chosen() -> None:
    members = json.loads(renderer("full")(Failure(FailureClass.NO_ROUTE)).body)
    assert list(members) == ["error", "status", "message", "timestamp"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", members["timestamp"])


@pytest.mark.parametrize(
    ("failure_class", "label", "status", "message"),
    [
        (FailureClass.NO_ROUTE, "no_route", 404, "no matching route"),
        (FailureClass.REQUEST_HEADERS_TOO_LARGE, "request_headers_too_large", 431, "request headers too large"),
        (FailureClass.NO_DESTINATION, "no_destination", 502, "no destination available"),
        (FailureClass.NO_ENDPOINT, "no_endpoint", 502, "no healthy endpoint"),
        (FailureClass.CIRCUIT_OPEN, "circuit_open", 503, "circuit breaker open"),
        (FailureClass.TIMEOUT, "timeout", 504, "request timeout"),
        (FailureClass.CONNECTION_REFUSED, "connection_refused", 502, "upstream connection refused"),
        (FailureClass.CONNECTION_RESET, "connection_reset", 502, "upstream connection reset"),
        (FailureClass.DNS_FAILURE, "dns_failure", 502, "upstream host could not be resolved"),
        (FailureClass.TLS_HANDSHAKE_FAILURE, "tls_handshake_failure", 502, "upstream TLS handshake failed"),
    ],
)
def test_every_class_has_its_documented_answer(
    failure_class: FailureClass, label: str, status: int, message: str
) -> None:
    response = renderer("standard")(Failure(failure_class))
    assert json.loads(response.body) == {"error": label, "status": status, "message": message}
