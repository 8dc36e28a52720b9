"""The status of gRPC: how it is written and read, and what it is in HTTP."""

from __future__ import annotations

from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vrata.policy import grpc_status

CODES = range(17)


def test_codes_have_the_names_of_the_protocol() -> None:
    assert [getattr(grpc_status, name) for name in grpc_status.NAMES] == list(CODES)


@pytest.mark.parametrize(
    ("status", "name"),
    [
        # https://github.com/grpc/grpc/blob/master/doc/http-grpc-status-mapping.md
        (400, "INTERNAL"),
        (401, "UNAUTHENTICATED"),
        (403, "PERMISSION_DENIED"),
        (404, "UNIMPLEMENTED"),
        (429, "UNAVAILABLE"),
        (502, "UNAVAILABLE"),
        (503, "UNAVAILABLE"),
        (504, "UNAVAILABLE"),
        (500, "UNKNOWN"),
        (418, "UNKNOWN"),
        (431, "RESOURCE_EXHAUSTED"),
    ],
)
def test_what_a_client_makes_of_a_status_of_http(status: int, name: str) -> None:
    assert grpc_status.NAMES[grpc_status.of_http(status)] == name


@pytest.mark.parametrize(
    ("name", "status"),
    [
        # google/rpc/code.proto
        ("OK", 200),
        ("CANCELLED", 499),
        ("UNKNOWN", 500),
        ("INVALID_ARGUMENT", 400),
        ("DEADLINE_EXCEEDED", 504),
        ("NOT_FOUND", 404),
        ("ALREADY_EXISTS", 409),
        ("PERMISSION_DENIED", 403),
        ("RESOURCE_EXHAUSTED", 429),
        ("FAILED_PRECONDITION", 400),
        ("ABORTED", 409),
        ("OUT_OF_RANGE", 400),
        ("INTERNAL", 500),
        ("UNAVAILABLE", 503),
        ("DATA_LOSS", 500),
        ("UNAUTHENTICATED", 401),
        # no failure of the server
        ("UNIMPLEMENTED", 404),
    ],
)
def test_what_a_code_is_in_http(name: str, status: int) -> None:
    assert grpc_status.in_http(grpc_status.NAMES.index(name)) == status


@pytest.mark.parametrize("code", [-1, 17, 99, 10**9])
def test_a_code_that_does_not_exist_is_unknown(code: int) -> None:
    assert grpc_status.in_http(code) == 500


@pytest.mark.parametrize(
    ("message", "encoded"),
    [
        ("", b""),
        ("no route: a b ~!#$&", b"no route: a b ~!#$&"),
        ("100 %", b"100 %25"),
        ("a\r\nb\t\x00\x7f", b"a%0D%0Ab%09%00%7F"),
        ("é€😈", b"%C3%A9%E2%82%AC%F0%9F%98%88"),
    ],
)
def test_messages_are_percent_encoded(message: str, encoded: bytes) -> None:
    assert grpc_status.encoded_message(message) == encoded


@given(st.text())
def test_every_message_can_be_sent_and_read_again(message: str) -> None:
    encoded = grpc_status.encoded_message(message.encode("utf-8", "replace").decode())
    assert all(0x20 <= byte <= 0x7E for byte in encoded)
    assert unquote_to_bytes(encoded) == message.encode("utf-8", "replace")


def test_bytes_of_a_peer_that_are_no_text_do_not_fail() -> None:
    assert grpc_status.encoded_message(b"\xff".decode("utf-8", "surrogateescape")) == b"%FF"


def test_a_status_in_lines() -> None:
    assert grpc_status.status_lines(12, "a%") == b"grpc-status: 12\r\ngrpc-message: a%25\r\n"


@pytest.mark.parametrize(
    ("values", "code"),
    [
        ([], -1),
        ([b"0"], 0),
        ([b"14"], 14),
        ([b"14", b"0"], 14),
        ([b"4711"], 4711),
        ([b""], -1),
        ([b"-1"], -1),
        ([b"1 2"], -1),
        ([b"UNAVAILABLE"], -1),
        ([b"9" * 400], -1),
    ],
)
def test_reading_a_code(values: list[bytes], code: int) -> None:
    assert grpc_status.read_code(values) == code
    trailers = b"".join(b"x-other: 7\r\nGrpc-Status:%s \r\n" % value for value in values)
    assert grpc_status.code_in_trailers(trailers) == code


@pytest.mark.parametrize(
    ("trailers", "code"),
    [
        (b"grpc-status: 3\r\ngrpc-message: x\r\n", 3),
        (b"grpc-message: grpc-status: 3\r\n", -1),
        (b"x-grpc-status: 3\r\n", -1),
        (b"grpc-status-details-bin: 3\r\n", -1),
    ],
)
def test_only_a_line_of_that_name_counts(trailers: bytes, code: int) -> None:
    assert grpc_status.code_in_trailers(trailers) == code
