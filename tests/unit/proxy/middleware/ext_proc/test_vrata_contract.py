"""Our messages, written and read beside what Google's library makes of the contract's file."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.proto_files import message_class
from vrata.policy.header_mutation import APPEND, FieldEdit, HeaderMutation
from vrata.proxy.middleware.ext_proc.message import (
    REQUEST_BODY,
    REQUEST_HEADERS,
    RESPONSE_BODY,
    RESPONSE_HEADERS,
    Answer,
    MalformedAnswer,
    Phase,
    Refusal,
    Said,
    Shown,
)
from vrata.proxy.middleware.ext_proc.vrata_contract import VrataContract

CONTRACT = VrataContract()
FILE = "extproc/v1/processor.proto"
FIELDS = {
    REQUEST_HEADERS: "request_headers",
    RESPONSE_HEADERS: "response_headers",
    REQUEST_BODY: "request_body",
    RESPONSE_BODY: "response_body",
}


def made(name: str, **fields: Any) -> Any:
    return message_class(FILE, f"extproc.v1.{name}")(**fields)


def read(**fields: Any) -> Said:
    return CONTRACT.decode(made("ProcessingResponse", **fields).SerializeToString())


@pytest.mark.parametrize("phase", [REQUEST_HEADERS, RESPONSE_HEADERS])
@settings(max_examples=40)
@given(pairs=st.lists(st.tuples(st.text(), st.text())), end=st.booleans(), observed=st.booleans())
def test_that_the_library_reads_the_headers_that_are_shown(
    phase: Phase, pairs: list[tuple[str, str]], end: bool, observed: bool
) -> None:
    fields = tuple((name.encode(), value.encode()) for name, value in pairs)
    message = CONTRACT.encode(Shown(phase, ((b":a", b"b"),), fields, end=end, observed=observed), None)
    headers = [made("HeaderPair", key=name, value=value) for name, value in [*pairs, (":a", "b")]]
    expected = {FIELDS[phase]: made("HttpHeaders", headers=headers, end_of_stream=end)}
    assert message_class(FILE, "extproc.v1.ProcessingRequest").FromString(message) == made(
        "ProcessingRequest", **expected, observe_only=observed
    )


@pytest.mark.parametrize("phase", [REQUEST_BODY, RESPONSE_BODY])
@settings(max_examples=40)
@given(body=st.binary(), end=st.booleans())
def test_that_the_library_reads_the_bodies_that_are_shown(phase: Phase, body: bytes, end: bool) -> None:
    message = CONTRACT.encode(Shown(phase, body=body, end=end), None)
    expected = {FIELDS[phase]: made("HttpBody", body=body, end_of_stream=end)}
    assert message_class(FILE, "extproc.v1.ProcessingRequest").FromString(message) == made(
        "ProcessingRequest", **expected
    )


def test_that_values_that_are_not_utf_8_are_shown_as_iso_8859_1() -> None:
    message = CONTRACT.encode(Shown(REQUEST_HEADERS, fields=((b"x-a", b"\xfc\xff"),)), None)
    found = message_class(FILE, "extproc.v1.ProcessingRequest").FromString(message)
    assert found.request_headers.headers[0].value == "\xfc\xff"


PAIR = {"key": "X-A", "value": "ü"}
EDIT = FieldEdit(b"X-A", "ü".encode())


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"request_headers": {}}, Answer(REQUEST_HEADERS)),
        ({"response_headers": {"replace_body": b"a"}}, Answer(RESPONSE_HEADERS)),
        (
            {"response_headers": {"status": 1, "replace_body": b"a"}},
            Answer(RESPONSE_HEADERS, body=b"a", is_last=True),
        ),
        ({"request_headers": {"status": 1}}, Answer(REQUEST_HEADERS, is_last=True)),
        (
            {"request_headers": {"set_headers": [PAIR, PAIR], "remove_headers": ["a", "b"]}},
            Answer(REQUEST_HEADERS, HeaderMutation((b"a", b"b"), (EDIT, EDIT))),
        ),
        ({"request_body": {}}, Answer(REQUEST_BODY)),
        ({"request_body": {"replace_body": b""}}, Answer(REQUEST_BODY, body=b"")),
        ({"response_body": {"replace_body": b"a", "status": 1}}, Answer(RESPONSE_BODY, body=b"a", is_last=True)),
        ({"response_body": {"clear_body": True}}, Answer(RESPONSE_BODY, body=b"")),
        ({"response_body": {"clear_body": False}}, Answer(RESPONSE_BODY)),
        (
            {"request_body": {"set_headers": [PAIR], "remove_headers": ["a"]}},
            Answer(REQUEST_BODY, HeaderMutation((b"a",), (EDIT,))),
        ),
        ({"reject": {}}, Refusal(403)),
        (
            {"reject": {"status": 429, "headers": [PAIR, PAIR], "body": b"no"}},
            Refusal(429, body=b"no", fields=(FieldEdit(b"X-A", "ü".encode(), APPEND),) * 2),
        ),
    ],
)
def test_what_answers_say(fields: dict[str, Any], expected: Answer | Refusal) -> None:
    assert read(**fields) == expected


def test_that_the_last_action_counts_and_one_that_comes_twice_is_merged() -> None:
    first, second, third = (
        made("ProcessingResponse", **fields).SerializeToString()
        for fields in (
            {"request_body": {"replace_body": b"a"}},
            {"request_headers": {"set_headers": [PAIR]}},
            {"request_headers": {"status": 1}},
        )
    )
    expected = Answer(REQUEST_HEADERS, HeaderMutation((), (EDIT,)), is_last=True)
    assert CONTRACT.decode(first + second + third) == expected


def test_that_what_is_unknown_is_passed_over() -> None:
    unknown = b"\xf8\x07\x01" + b"\xfa\x07\x01a"
    assert CONTRACT.decode(unknown + b"\x1a\x00" + unknown) == Answer(REQUEST_BODY)


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (b"", "an answer without an action"),
        (b"\xf8\x07\x01", "an answer without an action"),
        (b"\x0a\x05a", "a field that is cut"),
        (b"\x0a\x02\x08\x02", "an unknown status"),
        (b"\x0a\x05\x12\x03\x0a\x01\xff", "a text that is not UTF-8"),
        (b"\x2a\x03\x08\xd8\x04", "a rejection whose status"),
        (b"garbage", "a field"),
    ],
)
def test_that_what_is_no_answer_is_refused(message: bytes, reason: str) -> None:
    with pytest.raises(MalformedAnswer, match=reason):
        CONTRACT.decode(message)


@settings(max_examples=40)
@given(st.binary())
def test_that_any_bytes_are_an_answer_or_refused(message: bytes) -> None:
    try:
        found = CONTRACT.decode(message)
    except MalformedAnswer:
        return
    assert isinstance(found, Answer | Refusal)
