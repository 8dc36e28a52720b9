"""Messages of Envoy's contract, written and read beside what Google's library makes of its file."""

from time import process_time
from typing import Any

import pytest
from google.protobuf import json_format
from google.protobuf.struct_pb2 import Struct
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.proto_files import message_class
from vrata.policy.header_mutation import (
    ADD_IF_ABSENT,
    APPEND,
    REPLACE,
    REPLACE_IF_PRESENT,
    FieldEdit,
    HeaderMutation,
)
from vrata.proxy.middleware.ext_proc.envoy_contract import EnvoyContract
from vrata.proxy.middleware.ext_proc.message import (
    BUFFERED,
    PARTIAL,
    REQUEST_BODY,
    REQUEST_HEADERS,
    REQUEST_TRAILERS,
    RESPONSE_BODY,
    RESPONSE_HEADERS,
    RESPONSE_TRAILERS,
    STREAMED,
    Answer,
    MalformedAnswer,
    ModeOverride,
    Modes,
    MoreTime,
    OwnResponse,
    Phase,
    Refusal,
    Said,
    Shown,
)
from vrata.wire.envoy_metadata import encode_metadata
from vrata.wire.protobuf import MessageWriter
from vrata.wire.protobuf_struct import StructWriter

CONTRACT = EnvoyContract()
FILE = "envoy/service/ext_proc/v3/external_processor.proto"


def made(name: str, **fields: Any) -> Any:
    return message_class(FILE, f"envoy.service.ext_proc.v3.{name}")(**fields)


def shown(phase: Phase, opening: Modes | None = None, **settings: Any) -> Any:
    message = CONTRACT.encode(Shown(phase, **settings), opening)
    return message_class(FILE, "envoy.service.ext_proc.v3.ProcessingRequest").FromString(message)


def read(**fields: Any) -> Said:
    return CONTRACT.decode(made("ProcessingResponse", **fields).SerializeToString())


@settings(max_examples=40)
@given(fields=st.lists(st.tuples(st.text(min_size=1).map(str.encode), st.binary())), end=st.booleans())
def test_that_the_library_reads_the_headers_that_are_shown(fields: list[tuple[bytes, bytes]], end: bool) -> None:
    headers = [{"key": name.decode(), "raw_value": value} for name, value in [(b":path", b"/"), *fields]]
    found = shown(REQUEST_HEADERS, pseudo=((b":path", b"/"),), fields=tuple(fields), end=end)
    expected = {"headers": {"headers": headers}, "end_of_stream": end}
    assert found == made("ProcessingRequest", request_headers=expected)


def test_that_the_first_message_says_which_bodies_are_shown() -> None:
    modes = Modes(request_body=STREAMED, response_body=PARTIAL)
    found = shown(RESPONSE_HEADERS, modes, observed=True)
    config = {"request_body_mode": "STREAMED", "response_body_mode": "BUFFERED_PARTIAL"}
    expected = made(
        "ProcessingRequest", response_headers={"headers": {}}, observability_mode=True, protocol_config=config
    )
    assert found == expected


@settings(max_examples=40)
@given(body=st.binary(), end=st.booleans())
def test_that_the_library_reads_the_bodies_that_are_shown(body: bytes, end: bool) -> None:
    found = shown(REQUEST_BODY, body=body, end=end)
    assert found == made("ProcessingRequest", request_body={"body": body, "end_of_stream": end})
    found = shown(RESPONSE_BODY, body=body, end=end)
    assert found == made("ProcessingRequest", response_body={"body": body, "end_of_stream": end})


def test_that_the_library_reads_the_trailers_that_are_shown() -> None:
    trailers = {"trailers": {"headers": [{"key": "a", "raw_value": b"b"}]}}
    found = shown(REQUEST_TRAILERS, fields=((b"a", b"b"),))
    assert found == made("ProcessingRequest", request_trailers=trailers)
    found = shown(RESPONSE_TRAILERS, fields=((b"a", b"b"),))
    assert found == made("ProcessingRequest", response_trailers=trailers)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"request_headers": {}}, Answer(REQUEST_HEADERS)),
        ({"request_headers": {"response": {"body_mutation": {"body": b"a"}}}}, Answer(REQUEST_HEADERS)),
        (
            {"response_headers": {"response": {"status": 1, "body_mutation": {"body": b""}}}},
            Answer(RESPONSE_HEADERS, body=b"", is_last=True),
        ),
        ({"request_body": {"response": {"body_mutation": {"body": b"a"}}}}, Answer(REQUEST_BODY, body=b"a")),
        (
            {"response_body": {"response": {"body_mutation": {"clear_body": True}}}},
            Answer(RESPONSE_BODY, body=b""),
        ),
        ({"response_body": {"response": {"body_mutation": {"clear_body": False}}}}, Answer(RESPONSE_BODY)),
        ({"response_body": {"response": {"status": 1}}}, Answer(RESPONSE_BODY, is_last=True)),
        (
            {"request_trailers": {"header_mutation": {"remove_headers": ["a"]}}},
            Answer(REQUEST_TRAILERS, HeaderMutation((b"a",))),
        ),
        ({"response_trailers": {}}, Answer(RESPONSE_TRAILERS)),
        ({"immediate_response": {}}, Refusal(403)),
        (
            {
                "immediate_response": {
                    "status": {"code": 429},
                    "headers": {"set_headers": [{"header": {"key": "a", "value": "b"}}], "remove_headers": ["c"]},
                    "body": b"no",
                    "grpc_status": {"status": 8},
                    "details": "why",
                }
            },
            Refusal(
                429,
                HeaderMutation((b"c",), (FieldEdit(b"a", b"b"),)),
                b"no",
                (FieldEdit(b"content-type", b"text/plain"),),
                8,
                "why",
            ),
        ),
        ({"immediate_response": {"grpc_status": {}}}, Refusal(403, grpc_code=0)),
    ],
)
def test_what_answers_say(fields: dict[str, Any], expected: Answer | Refusal) -> None:
    assert read(**fields) == expected


@pytest.mark.parametrize(
    ("option", "action"),
    [
        ({}, REPLACE),
        ({"append": {"value": False}}, REPLACE),
        ({"append": {"value": True}}, APPEND),
        ({"append_action": "ADD_IF_ABSENT"}, ADD_IF_ABSENT),
        ({"append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}, REPLACE),
        ({"append_action": "OVERWRITE_IF_EXISTS"}, REPLACE_IF_PRESENT),
    ],
)
@pytest.mark.parametrize("value", [{"value": "b"}, {"raw_value": b"b"}])
def test_that_headers_are_set_as_they_are_by_envoy(option: dict[str, Any], action: int, value: dict[str, Any]) -> None:
    mutation = {"set_headers": [{"header": {"key": "a", **value}, **option}, {}]}
    found = read(request_headers={"response": {"header_mutation": mutation}})
    assert found == Answer(REQUEST_HEADERS, HeaderMutation((), (FieldEdit(b"a", b"b", action),)))


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ({}, ModeOverride()),
        ({"request_header_mode": "SKIP", "response_header_mode": "SKIP"}, ModeOverride(response_headers=False)),
        (
            {
                "response_header_mode": "SEND",
                "request_body_mode": "BUFFERED",
                "response_body_mode": "STREAMED",
                "request_trailer_mode": "SEND",
                "response_trailer_mode": "SKIP",
            },
            ModeOverride(True, BUFFERED, STREAMED, True, False),
        ),
    ],
)
def test_that_answers_about_headers_say_what_else_is_to_be_shown(mode: dict[str, Any], expected: ModeOverride) -> None:
    assert read(request_headers={}, mode_override=mode) == Answer(REQUEST_HEADERS, override=expected)
    assert read(request_body={}, mode_override=mode) == Answer(REQUEST_BODY)


def test_that_more_time_is_no_answer() -> None:
    assert read(request_headers={}, override_message_timeout={"seconds": 1, "nanos": 500_000_000}) == MoreTime(1.5)
    assert read(override_message_timeout={"seconds": -1}) == MoreTime(0)


def test_that_pieces_of_new_bodies_are_read() -> None:
    piece = {"response": {"body_mutation": {"streamed_response": {"body": b"a", "end_of_stream": True}}}}
    assert read(request_body=piece) == Answer(REQUEST_BODY, body=b"a", is_streamed=True, ends=True)
    piece = {"response": {"body_mutation": {"streamed_response": {}}}}
    assert read(response_body=piece) == Answer(RESPONSE_BODY, body=b"", is_streamed=True)


def test_that_responses_of_the_processor_are_read() -> None:
    headers = [{"key": ":status", "raw_value": b"201"}, {"key": "X-A", "value": "b"}, {"key": ":path", "value": "/"}]
    part = {"headers_response": {"headers": {"headers": headers}, "end_of_stream": True}}
    assert read(streamed_immediate_response=part) == OwnResponse(201, ((b"x-a", b"b"),), end=True)
    part = {"body_response": {"body": b"a"}}
    assert read(streamed_immediate_response=part) == OwnResponse(body=b"a")
    part = {"trailers_response": {"headers": headers[1:2]}}
    assert read(streamed_immediate_response=part) == OwnResponse(fields=((b"x-a", b"b"),), end=True)


def test_that_what_is_said_of_a_request_is_read_by_namespace() -> None:
    said = {"a.b": {"c": 1.5, "d": [True, None], "e": {"f": "g"}}, "not an object": 1, "empty": {}}
    answer = read(request_headers={}, dynamic_metadata=said)
    assert isinstance(answer, Answer)
    found = {name: json_format.MessageToDict(Struct.FromString(struct)) for name, struct in answer.metadata}
    assert found == {"a.b": said["a.b"], "empty": {}}
    refusal = read(immediate_response={}, dynamic_metadata={"a": {"b": 1}})
    assert isinstance(refusal, Refusal)
    assert [name for name, _ in refusal.metadata] == ["a"]


def test_that_the_library_reads_what_is_told_beside() -> None:
    struct = StructWriter()
    struct.text("request.path", "/\udcff")
    struct.number("source.port", 1)
    struct.truth("connection.mtls", False)
    struct.struct("within", b"")
    message = Shown(REQUEST_BODY, body=b"a")
    message.attributes = struct.finished()
    message.metadata = encode_metadata({"a": struct.finished(), "b": b""}, ("a", "c"))
    found = message_class(FILE, "envoy.service.ext_proc.v3.ProcessingRequest").FromString(
        CONTRACT.encode(message, None)
    )
    expected = {"request.path": "/?", "source.port": 1, "connection.mtls": False, "within": {}}
    assert list(found.attributes) == ["envoy.filters.http.ext_proc"]
    assert json_format.MessageToDict(found.attributes["envoy.filters.http.ext_proc"]) == expected
    assert {name: json_format.MessageToDict(each) for name, each in found.metadata_context.filter_metadata.items()} == {
        "a": expected
    }


def test_that_an_answer_in_many_parts_keeps_nobody_waiting() -> None:
    """Each joined to those before it, they would be copied for a minute, in which nobody else is served."""
    part = MessageWriter()
    part.content(15, bytes(250))  # a field that nobody knows
    message = MessageWriter()
    for _ in range(16_000):
        message.message(1, part.finished())
    began = process_time()
    assert CONTRACT.decode(message.finished()) == Answer(REQUEST_HEADERS)
    assert process_time() - began < 2.0


def test_that_an_answer_in_two_halves_is_merged() -> None:
    halves = [
        {"status": 1, "header_mutation": {"remove_headers": ["a"]}},
        {"header_mutation": {"remove_headers": ["b"]}, "body_mutation": {"body": b"c"}},
    ]
    message = b"".join(
        made("ProcessingResponse", request_body={"response": half}).SerializeToString() for half in halves
    )
    expected = Answer(REQUEST_BODY, HeaderMutation((b"a", b"b")), b"c", is_last=True)
    assert CONTRACT.decode(message) == expected


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({}, "an answer without a response"),
        ({"request_headers": {}, "mode_override": {"request_body_mode": 5}}, "an unknown body mode"),
        ({"request_headers": {}, "mode_override": {"response_header_mode": 3}}, "an unknown header mode"),
        ({"request_headers": {"response": {"status": 2}}}, "an unknown status"),
        ({"streamed_immediate_response": {}}, "a streamed response without any part of one"),
        ({"streamed_immediate_response": {"headers_response": {}}}, "a streamed response whose :status"),
        ({"immediate_response": {"status": {"code": 101}}}, "a rejection whose status"),
    ],
)
def test_that_what_is_no_answer_is_refused(fields: dict[str, Any], reason: str) -> None:
    with pytest.raises(MalformedAnswer, match=reason):
        read(**fields)


@pytest.mark.parametrize(
    ("option", "reason"),
    [
        ({"header": {"key": "a", "value": "b", "raw_value": b"c"}}, "a header with two values"),
        ({"header": {"key": "a"}, "append_action": 4}, "an unknown append_action"),
    ],
)
def test_that_headers_that_cannot_be_set_are_refused(option: dict[str, Any], reason: str) -> None:
    with pytest.raises(MalformedAnswer, match=reason):
        read(request_headers={"response": {"header_mutation": {"set_headers": [option]}}})


@settings(max_examples=40)
@given(st.binary())
def test_that_any_bytes_are_an_answer_or_refused(message: bytes) -> None:
    try:
        found = CONTRACT.decode(message)
    except MalformedAnswer:
        return
    assert isinstance(found, Answer | Refusal | OwnResponse | MoreTime)
