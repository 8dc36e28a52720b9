from __future__ import annotations

import json
import re

import pytest

from vrata.policy import grpc_status
from vrata.proxy.contracts import CensusEntry, Failure, FailureClass, LocalResponse
from vrata.proxy.failures import FailureAnswers

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
    response = FailureAnswers(detail).failure(FAILURE, grpc=False)
    assert list(json.loads(response.body)) == members
    assert response.status == 502
    assert response.body.endswith(b"}\n")
    assert response.fields == b"content-type: application/json\r\n"


def test_full_leaves_out_what_was_never_chosen() -> None:
    members = json.loads(FailureAnswers("full").failure(Failure(FailureClass.NO_ROUTE), grpc=False).body)
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
    response = FailureAnswers("standard").failure(Failure(failure_class), grpc=False)
    assert json.loads(response.body) == {"error": label, "status": status, "message": message}


# -- to clients of gRPC ------------------------------------------------------------------------------------------------


class Endpoints:
    """A census of *count* endpoints."""

    def __init__(self, count: int) -> None:
        self._count = count

    def census(self) -> list[CensusEntry]:
        return [CensusEntry(f"10.0.0.{number}:80", "unhealthy", "status 503") for number in range(self._count)]


def status(response: LocalResponse) -> tuple[int, str]:
    """Code and message of a response that has nothing else."""
    assert (response.status, response.body) == (200, b"")
    content_type, code, message, end = response.fields.split(b"\r\n")
    assert content_type == b"content-type: application/grpc"
    assert end == b""
    return int(code.removeprefix(b"grpc-status: ")), message.removeprefix(b"grpc-message: ").decode("ascii")


@pytest.mark.parametrize(
    ("failure_class", "code"),
    [
        (FailureClass.NO_ROUTE, grpc_status.UNIMPLEMENTED),
        (FailureClass.REQUEST_HEADERS_TOO_LARGE, grpc_status.RESOURCE_EXHAUSTED),
        (FailureClass.NO_DESTINATION, grpc_status.UNAVAILABLE),
        (FailureClass.NO_ENDPOINT, grpc_status.UNAVAILABLE),
        (FailureClass.CIRCUIT_OPEN, grpc_status.UNAVAILABLE),
        (FailureClass.TIMEOUT, grpc_status.DEADLINE_EXCEEDED),
        (FailureClass.CONNECTION_REFUSED, grpc_status.UNAVAILABLE),
        (FailureClass.CONNECTION_RESET, grpc_status.UNAVAILABLE),
        (FailureClass.DNS_FAILURE, grpc_status.UNAVAILABLE),
        (FailureClass.TLS_HANDSHAKE_FAILURE, grpc_status.UNAVAILABLE),
        (FailureClass.INTERNAL, grpc_status.INTERNAL),
    ],
)
def test_every_class_has_its_documented_code(failure_class: FailureClass, code: int) -> None:
    answers = FailureAnswers("standard")
    failure = Failure(failure_class)
    expected = code, f"{failure_class.label}: {failure_class.message}"
    assert status(answers.failure(failure, grpc=True)) == expected
    assert answers.trailers(failure) == b"grpc-status: %d\r\ngrpc-message: %s\r\n" % (code, expected[1].encode())


def test_the_table_of_http_is_followed_but_where_more_is_known() -> None:
    better_known = {FailureClass.TIMEOUT, FailureClass.INTERNAL}
    for failure_class in set(FailureClass) - better_known:
        assert failure_class.grpc_code == grpc_status.of_http(failure_class.status), failure_class


@pytest.mark.parametrize(
    ("detail", "message"),
    [
        ("minimal", "connection_refused"),
        ("standard", "connection_refused: upstream connection refused"),
        (
            "full",
            "connection_refused: upstream connection refused"
            " (destination caf%C3%A9; endpoint 127.0.0.1:9; reason 100%25; timestamp T)",
        ),
    ],
)
def test_the_message_has_what_the_level_asks_for(detail: str, message: str) -> None:
    failure = Failure(FailureClass.CONNECTION_REFUSED, "café", "127.0.0.1:9", "100%")
    _, found = status(FailureAnswers(detail).failure(failure, grpc=True))
    assert re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", "T", found) == message


def test_a_message_stays_short_however_many_endpoints_there_are() -> None:
    failure = Failure(FailureClass.NO_ENDPOINT, "d", considered=Endpoints(60))
    _, message = status(FailureAnswers("full").failure(failure, grpc=True))
    assert message.count("unhealthy status 503") == 10
    assert message.endswith("10.0.0.9:80 unhealthy status 503; further endpoints)")
    _, message = status(
        FailureAnswers("full").failure(Failure(FailureClass.NO_ENDPOINT, considered=Endpoints(10)), grpc=True)
    )
    assert message.endswith("10.0.0.9:80 unhealthy status 503)")


@pytest.mark.parametrize(
    ("refused", "code"),
    [(400, grpc_status.INTERNAL), (414, grpc_status.UNKNOWN), (417, grpc_status.UNKNOWN), (501, grpc_status.UNKNOWN)],
)
def test_what_is_no_acceptable_request(refused: int, code: int) -> None:
    answers = FailureAnswers("minimal")
    assert status(answers.refusal(refused, "no Host", grpc=True)) == (code, "bad_request: no Host")
    plain = answers.refusal(refused, "no Host", grpc=False)
    assert json.loads(plain.body) == {"error": "bad_request", "status": refused, "message": "no Host"}
    assert plain.status == refused
    assert json.loads(answers.refusal(refused, 'a "\\" in it', grpc=False).body)["message"] == 'a "\\" in it'
