"""Fields of Protocol Buffers beside Google's own reader and writer, and frames of gRPC cut anywhere."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from tests.support.authorizer_messages import message_class
from vrata.wire import authorizer, envoy_authorization
from vrata.wire.envoy_authorization import HttpRequest, Peer
from vrata.wire.grpc_frames import MalformedFrame, MessageFrames, framed
from vrata.wire.protobuf import MalformedProtobuf, read_fields, read_varint, varint

TEXT = st.text(max_size=20)
PAIRS = st.lists(st.tuples(TEXT, TEXT), max_size=4)
CHECK_RESPONSE = "extauthz.v1.CheckResponse"
ENVOY_RESPONSE = "envoy.service.auth.v3.CheckResponse"


@given(st.integers(0, 2**64 - 1))
def test_a_number_comes_back(number: int) -> None:
    written = varint(number)
    assert read_varint(b"xx" + written, 2) == (number, 2 + len(written))
    for size in range(len(written)):
        with pytest.raises(MalformedProtobuf):
            read_varint(written[:size], 0)


@pytest.mark.parametrize(
    "message",
    [
        b"\x80" * 10 + b"\x01",  # eleven bytes
        b"\x08" + b"\xff" * 9 + b"\x02",  # more than 64 bits
        b"\x00\x01",  # field 0
        b"\x0a\x05abcd",  # cut
        b"\x0d\x01\x02\x03",
        b"\x09\x01\x02\x03",
        b"\x0b\x0c",  # a group
        b"\x0e\x01",
        b"\xf8\xff\xff\xff\x1f\x00",  # a number beyond the last
        b"\x8a\x80\x80\x80\x80\x00\x00",  # a tag of six bytes
        b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
    ],
)
def test_what_is_no_message_is_refused(message: bytes) -> None:
    with pytest.raises(MalformedProtobuf):
        read_fields(message)


@given(TEXT, TEXT, PAIRS, st.binary(max_size=40))
def test_a_check_request_is_what_protoc_reads(
    method: str, path: str, headers: list[tuple[str, str]], body: bytes
) -> None:
    theirs = message_class("extauthz.v1.CheckRequest").FromString(
        authorizer.encode_request(
            method.encode(), path.encode(), [(key.encode(), value.encode()) for key, value in headers], body
        )
    )
    assert (theirs.method, theirs.path, theirs.body) == (method, path, body)
    assert [(pair.key, pair.value) for pair in theirs.headers] == headers


@given(st.booleans(), st.integers(0, 2**32 - 1), PAIRS, st.binary(max_size=40))
def test_a_check_response_is_what_protoc_writes(
    allowed: bool, status: int, headers: list[tuple[str, str]], body: bytes
) -> None:
    theirs = message_class(CHECK_RESPONSE)(
        allowed=allowed,
        denied_status=status,
        denied_body=body,
        headers=[{"key": key, "value": value} for key, value in headers],
    )
    ours = authorizer.decode_response(theirs.SerializeToString())
    assert (ours.allowed, ours.denied_status, ours.denied_body) == (allowed, status, body)
    assert ours.headers == headers


@given(
    texts=st.lists(TEXT, min_size=7, max_size=7),
    headers=st.dictionaries(TEXT, TEXT, max_size=4),
    size=st.integers(-1, 2**40),
    body=st.binary(max_size=40) | TEXT.map(str.encode),
    port=st.integers(0, 65535),
    nanoseconds=st.integers(0, 2**60),
)
def test_a_check_request_of_envoy_is_what_protoc_reads(
    texts: list[str], headers: dict[str, str], size: int, body: bytes, port: int, nanoseconds: int
) -> None:
    http = HttpRequest()
    http.id, http.method, http.path, http.host, http.scheme, http.protocol, address = texts
    http.headers, http.size, http.body = list(headers.items()), size, body
    written = envoy_authorization.encode_request(Peer(address, port, "spiffe://x"), Peer("", 0), http, nanoseconds)
    theirs = message_class("envoy.service.auth.v3.CheckRequest").FromString(written).attributes
    read = theirs.request.http
    assert [read.id, read.method, read.path, read.host, read.scheme, read.protocol] == texts[:6]
    assert (dict(read.headers), read.size) == (headers, size)
    assert (read.raw_body or read.body.encode()) == body
    assert theirs.request.time.ToNanoseconds() == nanoseconds
    socket_address = theirs.source.address.socket_address
    assert (socket_address.address, socket_address.port_value) == (address, port)
    assert (theirs.source.principal, theirs.destination.principal) == ("spiffe://x", "")


# One value each: what has two is refused.
HEADERS = st.fixed_dictionaries({"key": TEXT, "value": TEXT}) | st.fixed_dictionaries(
    {"key": TEXT, "raw_value": st.binary(max_size=4)}
)
OPTIONS = st.lists(
    st.fixed_dictionaries(
        {"header": HEADERS},
        optional={"append": st.booleans(), "append_action": st.integers(0, 3)},
    ),
    max_size=3,
)


def described(option: Any) -> tuple[str, bytes, int]:
    """What an option of theirs comes to, by the definition."""
    action = option.append_action or 2
    if option.HasField("append"):
        action = 0 if option.append.value else 2
    return option.header.key, option.header.value.encode() or option.header.raw_value, action


@given(
    code=st.integers(-(2**31), 2**31 - 1),
    kind=st.sampled_from(["", "denied_response", "ok_response", "error_response"]),
    status=st.integers(0, 599),
    body=TEXT,
    options=OPTIONS,
    removed=st.lists(TEXT, max_size=3),
    query=PAIRS,
)
def test_a_check_response_of_envoy_is_what_protoc_writes(
    code: int,
    kind: str,
    status: int,
    body: str,
    options: list[dict[str, Any]],
    removed: list[str],
    query: list[tuple[str, str]],
) -> None:
    theirs = message_class(ENVOY_RESPONSE)(status={"code": code, "message": "why"})
    headers: list[dict[str, Any]] = [
        {**each, "append": {"value": each["append"]}} if "append" in each else each for each in options
    ]
    if kind == "ok_response":
        said: dict[str, Any] = {"headers": headers, "headers_to_remove": removed, "response_headers_to_add": headers}
        said |= {
            "query_parameters_to_set": [{"key": a, "value": b} for a, b in query],
            "query_parameters_to_remove": removed,
        }
        theirs = message_class(ENVOY_RESPONSE)(status={"code": code}, ok_response=said)
    elif kind:
        theirs = message_class(ENVOY_RESPONSE)(
            status={"code": code}, **{kind: {"status": {"code": status}, "body": body, "headers": headers}}
        )
    ours = envoy_authorization.decode_response(theirs.SerializeToString())
    assert ours.code == code
    expected = [described(option) for option in getattr(theirs, kind).headers] if kind else []
    assert [(each.name, each.value, each.action) for each in ours.headers] == expected
    if kind == "ok_response":
        assert ours.headers_to_remove == removed
        assert [(each.name, each.value, each.action) for each in ours.response_headers] == expected
        assert (ours.query_to_set, ours.query_to_remove) == (query, removed)
    elif kind:
        assert (ours.http_status, ours.body) == (status, body.encode())
        assert ours.has_failed == (kind == "error_response")


def pieces(name: str) -> Any:
    """Beginnings of messages with that name, as their own writer makes them, in any order and number."""
    known: dict[str, list[dict[str, Any]]] = {
        CHECK_RESPONSE: [{"allowed": True}, {"denied_status": 7}, {"headers": [{"key": "k", "value": "v"}]}],
        ENVOY_RESPONSE: [
            {"status": {"code": 7}},
            {"status": {"message": "m"}},
            {"denied_response": {"body": "b"}},
            {"denied_response": {"status": {"code": 401}}},
            {"ok_response": {"headers_to_remove": ["a"]}},
        ],
    }
    written = st.sampled_from([message_class(name)(**value).SerializeToString() for value in known[name]])
    unknown = st.sampled_from([b"\x78\x01", b"\xa2\x06\x01x", b"\x7d1234", b"\x0d1234", b"\x1912345678"])
    return st.lists(written | unknown | st.binary(max_size=3), max_size=6).map(b"".join)


@given(pieces(CHECK_RESPONSE))
def test_what_we_read_of_anything_is_what_protoc_reads(message: bytes) -> None:
    try:
        ours = authorizer.decode_response(message)
    except MalformedProtobuf:
        return
    theirs = message_class(CHECK_RESPONSE).FromString(message)
    assert (ours.allowed, ours.denied_status, ours.denied_body) == (
        theirs.allowed,
        theirs.denied_status,
        theirs.denied_body,
    )
    assert ours.headers == [(pair.key, pair.value) for pair in theirs.headers]


@given(pieces(ENVOY_RESPONSE))
def test_what_we_read_of_anything_of_envoys_is_what_protoc_reads(message: bytes) -> None:
    try:
        ours = envoy_authorization.decode_response(message)
        theirs = message_class(ENVOY_RESPONSE).FromString(message)
    except (MalformedProtobuf, DecodeError):  # we do not look into fields that we do not know
        return
    assert ours.code == theirs.status.code
    kind = theirs.WhichOneof("http_response")
    if kind == "denied_response":
        assert (ours.http_status, ours.body) == (
            theirs.denied_response.status.code,
            theirs.denied_response.body.encode(),
        )
    elif kind == "ok_response":
        assert ours.headers_to_remove == list(theirs.ok_response.headers_to_remove)


def test_fields_of_a_fixed_size_keep_their_bytes() -> None:
    fields = read_fields(b"\x11\1\0\0\0\0\0\0\x80" + b"\x1d\1\2\3\4")
    assert [(field.tag >> 3, field.tag & 7, field.content) for field in fields] == [
        (2, 1, b"\1\0\0\0\0\0\0\x80"),
        (3, 5, b"\1\2\3\4"),
    ]


MESSAGES = st.lists(st.binary(max_size=12), max_size=5)


@given(MESSAGES, st.data())
def test_messages_come_out_of_a_stream_however_it_is_cut(messages: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(framed(message) for message in messages)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    frames = MessageFrames(12)
    found: list[bytes] = []
    for begin, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        found += frames.feed(stream[begin:end])
    assert found == messages
    assert not frames.is_cut


def test_messages_come_out_byte_by_byte_and_at_every_cut() -> None:
    messages = [b"", b"one", b"", b"three"]
    stream = b"".join(framed(message) for message in messages)
    for cut in range(len(stream) + 1):
        frames = MessageFrames(5)
        assert frames.feed(stream[:cut]) + frames.feed(stream[cut:]) == messages
    frames = MessageFrames(5)
    assert [message for byte in stream for message in frames.feed(bytes([byte]))] == messages


@pytest.mark.parametrize("begun", [b"\0\0\0\0\6", b"\0\xff\xff\xff\xff", b"\1\0\0\0\1x", b"\x80\0\0\0\0"])
def test_what_is_no_frame_is_refused_at_once(begun: bytes) -> None:
    with pytest.raises(MalformedFrame):
        MessageFrames(5).feed(begun)
    frames = MessageFrames(5)
    frames.feed(begun[:-1] if begun[0] == 0 else b"")
    with pytest.raises(MalformedFrame):
        frames.feed(begun[-1:] if begun[0] == 0 else begun)


def test_a_stream_may_end_within_a_message() -> None:
    frames = MessageFrames(5)
    assert not frames.is_cut
    assert frames.feed(framed(b"one") + b"\0\0") == [b"one"]
    assert frames.is_cut
