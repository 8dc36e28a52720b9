"""The messages of the health checking protocol, against the library that everybody else uses."""

from __future__ import annotations

import pytest
from google.protobuf.message import DecodeError
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from hypothesis import given
from hypothesis import strategies as st

from vrata.proxy.watch import grpc_health
from vrata.proxy.watch.grpc_health import MalformedHealthMessage, decode_response, encode_request


def framed(message: bytes, *, compressed: int = 0) -> bytes:
    return bytes([compressed]) + len(message).to_bytes(4, "big") + message


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=300))
def test_a_request_is_what_the_library_writes(service: str) -> None:
    assert encode_request(service) == framed(HealthCheckRequest(service=service).SerializeToString())


@pytest.mark.parametrize(("number", "name"), list(enumerate(grpc_health.STATUSES)))
def test_every_status_is_read(number: int, name: str) -> None:
    assert HealthCheckResponse.ServingStatus.Name(number) == name
    assert decode_response(framed(HealthCheckResponse(status=number).SerializeToString())) == number


def test_the_method_is_the_protocols() -> None:
    assert HealthCheckResponse.DESCRIPTOR.file.services_by_name["Health"].methods_by_name["Check"].full_name == (
        grpc_health.CHECK[1:].replace("/", ".")
    )
    assert grpc_health.STATUSES[grpc_health.SERVING] == "SERVING"


@given(st.binary(max_size=24))
def test_whatever_comes_is_read_as_the_library_does_or_refused(message: bytes) -> None:
    try:
        status = decode_response(framed(message))
    except MalformedHealthMessage:
        return
    # Of numbers too large for an enumeration the library keeps the lower half.
    assert HealthCheckResponse.FromString(message).status & 0xFFFFFFFF == status & 0xFFFFFFFF


@pytest.mark.parametrize("tag", [b"\x80\x80\x80\x80\x10", b"\x90\x80\x80\x80\x80\x00", b"\x00"])
def test_a_tag_that_is_none_is_refused(tag: bytes) -> None:
    with pytest.raises(MalformedHealthMessage, match="number"):
        decode_response(framed(tag + b"\x00"))
    with pytest.raises(DecodeError):
        HealthCheckResponse.FromString(tag + b"\x00")


@pytest.mark.parametrize(
    "unknown",
    [
        b"\x10\x05",  # a number
        b"\x12\x03abc",  # a text
        b"\x15abcd",  # four bytes
        b"\x11abcdefgh",  # eight bytes
        b"\x08\x02",  # the status, which the last one of decides
    ],
)
def test_what_later_versions_may_add_is_passed_over(unknown: bytes) -> None:
    assert decode_response(framed(unknown + b"\x08\x01")) == grpc_health.SERVING


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "not one whole message"),
        (b"\0\0\0\0", "not one whole message"),
        (framed(b"\x08\x01")[:-1], "not one whole message"),
        (framed(b"\x08\x01") * 2, "not one whole message"),
        (framed(b"\x08\x01", compressed=1), "a compressed message, which was not asked for"),
        (framed(b"\x08"), "a number that is cut, or too long"),
        (framed(b"\x08\xff"), "a number that is cut, or too long"),
        (framed(b"\x08" + b"\xff" * 11), "a number that is cut, or too long"),
        (framed(b"\x00\x01"), "a field whose number is none"),
        (framed(b"\x0a\x01a"), "a status that is no number"),
        (framed(b"\x12\x05abc"), "a field that is cut"),
        (framed(b"\x15abc"), "a field that is cut"),
        (framed(b"\x13"), "a field of an unknown wire type"),
    ],
)
def test_what_is_malformed_is_refused(content: bytes, reason: str) -> None:
    with pytest.raises(MalformedHealthMessage) as refused:
        decode_response(content)
    assert str(refused.value) == reason
