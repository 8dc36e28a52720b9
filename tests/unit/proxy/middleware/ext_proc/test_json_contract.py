import json
from base64 import b64encode
from typing import Any

import pytest

from vrata.policy.header_mutation import APPEND, FieldEdit, HeaderMutation
from vrata.proxy.middleware.ext_proc.json_contract import JsonContract
from vrata.proxy.middleware.ext_proc.message import (
    REQUEST_BODY,
    REQUEST_HEADERS,
    RESPONSE_BODY,
    RESPONSE_HEADERS,
    Answer,
    MalformedAnswer,
    Refusal,
    Said,
    Shown,
)

CONTRACT = JsonContract()
REQUEST = REQUEST_HEADERS


def written(shown: Shown) -> Any:
    return json.loads(CONTRACT.encode(shown, None))


def read(**members: Any) -> Said:
    return CONTRACT.decode(json.dumps(members).encode())


def test_how_headers_are_shown() -> None:
    shown = Shown(
        REQUEST, ((b":method", b"GET"),), ((b"x-a", b"1"), (b"x-a", "ü".encode()), (b"x-b", b"\xfc")), end=True
    )
    pairs = [(b":method", "GET"), (b"x-a", "1"), (b"x-a", "ü"), (b"x-b", "ü")]
    headers = [{"key": name.decode(), "value": value} for name, value in [*pairs[1:], pairs[0]]]
    assert written(shown) == {"phase": "requestHeaders", "headers": headers, "endOfStream": True}


def test_how_bodies_are_shown() -> None:
    shown = Shown(RESPONSE_BODY, body=b"\0\xff", observed=True)
    assert written(shown) == {"phase": "responseBody", "body": "AP8=", "endOfStream": False, "observeOnly": True}


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ({"action": "requestHeaders"}, Answer(REQUEST)),
        ({"action": "requestHeaders", "status": "continue", "replaceBody": "YQ=="}, Answer(REQUEST)),
        (
            {"action": "requestHeaders", "status": "continueAndReplace", "replaceBody": "YQ=="},
            Answer(REQUEST, body=b"a", is_last=True),
        ),
        ({"action": "requestHeaders", "status": "continueAndReplace"}, Answer(REQUEST, is_last=True)),
        (
            {"action": "responseHeaders", "setHeaders": [{"key": "X-A", "value": "1"}], "removeHeaders": ["x-b"]},
            Answer(RESPONSE_HEADERS, HeaderMutation((b"x-b",), (FieldEdit(b"X-A", b"1"),))),
        ),
        ({"action": "requestBody", "replaceBody": ""}, Answer(REQUEST_BODY, body=b"")),
        ({"action": "requestBody", "replaceBody": "YQ=="}, Answer(REQUEST_BODY, body=b"a")),
        ({"action": "requestBody", "replaceBody": "YQ==", "clearBody": True}, Answer(REQUEST_BODY, body=b"")),
        ({"action": "responseBody", "clearBody": False}, Answer(RESPONSE_BODY)),
        ({"action": "reject"}, Refusal(403)),
        (
            {
                "action": "reject",
                "rejectStatus": 401,
                "rejectHeaders": [{"key": "set-cookie", "value": "a=1"}, {"key": "set-cookie", "value": "b=2"}],
                "rejectBody": b64encode(b"no").decode(),
            },
            Refusal(
                401,
                body=b"no",
                fields=(FieldEdit(b"set-cookie", b"a=1", APPEND), FieldEdit(b"set-cookie", b"b=2", APPEND)),
            ),
        ),
    ],
)
def test_what_answers_say(members: dict[str, Any], expected: Answer | Refusal) -> None:
    assert read(**members) == expected


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ({}, "an unknown action"),
        ({"action": "requestTrailers"}, "an unknown action"),
        ({"action": 1}, "action of the wrong type"),
        ({"action": "requestBody", "status": "replace"}, "an unknown status"),
        ({"action": "requestBody", "replaceBody": "?"}, "replaceBody that is no base64"),
        ({"action": "requestBody", "replaceBody": 1}, "replaceBody of the wrong type"),
        ({"action": "requestBody", "clearBody": "yes"}, "clearBody of the wrong type"),
        ({"action": "requestHeaders", "setHeaders": [1]}, "setHeaders that are no pairs"),
        ({"action": "requestHeaders", "setHeaders": {"a": "b"}}, "setHeaders of the wrong type"),
        ({"action": "requestHeaders", "setHeaders": [{"key": "\ud800"}]}, "a text that is none"),
        ({"action": "requestHeaders", "removeHeaders": [1]}, "removeHeaders that are no names"),
        ({"action": "reject", "rejectStatus": 199}, "a rejection whose status is not that of a final response"),
        ({"action": "reject", "rejectStatus": True}, "rejectStatus of the wrong type"),
    ],
)
def test_that_what_is_no_answer_is_refused(members: dict[str, Any], reason: str) -> None:
    with pytest.raises(MalformedAnswer, match=reason):
        read(**members)


@pytest.mark.parametrize("text", [b"", b"[]", b"{", b"\xff", b"[" * 100_000])
def test_that_what_is_no_object_is_refused(text: bytes) -> None:
    with pytest.raises(MalformedAnswer, match="no JSON"):
        CONTRACT.decode(text)
