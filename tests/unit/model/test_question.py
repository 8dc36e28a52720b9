from __future__ import annotations

from typing import Any

import pytest

from vrata.model import InvalidEntity
from vrata.model.question import Question


def problem_of(document: Any) -> str:
    with pytest.raises(InvalidEntity) as invalid:
        Question.parse(document)
    return str(invalid.value)


def test_headers_come_as_pairs_or_as_an_object() -> None:
    pairs = Question.parse({"request": {"headers": [["X-A", "1"], ["x-a", "2"]]}})
    assert pairs.request.headers == (("X-A", "1"), ("x-a", "2"))
    assert Question.parse({"request": {"headers": {"X-A": "1"}}}).request.headers == (("X-A", "1"),)


def test_what_is_not_said_has_its_default() -> None:
    question = Question.parse({"request": {}})
    assert question.request.method == "GET"
    assert question.request.client_address == "127.0.0.1"
    assert question.snapshot.source == "active"
    assert question.compare_with is None
    assert not question.all


@pytest.mark.parametrize(
    ("request_document", "problem"),
    [
        ({"hoost": "a"}, 'request.hoost: unknown field, did you mean "host"?'),
        ({"url": "ftp://a/"}, "request.url: must begin with http:// or https://"),
        ({"url": "/a"}, "request.url: must begin with http:// or https://"),
        ({"url": "http://a/", "path": "/b"}, "request.path: must not be given together with url"),
        ({"scheme": "ws"}, 'request.scheme: must be "http" or "https"'),
        ({"clientAddress": "here"}, 'request.clientAddress: must be an IP address, got "here"'),
        ({"clientAddress": "fe80::1%\r\nx"}, 'request.clientAddress: must be an IP address, got "fe80::1%\r\nx"'),
        ({"clientAddress": "fe80::1%é"}, 'request.clientAddress: must be an IP address, got "fe80::1%é"'),
        ({"headers": [["a"]]}, "request.headers[0][1]: is required"),
        ({"headers": {"a": 1}}, "request.headers[0][1]: must be a string, got a number"),
        ({"headers": [["a\nb", "c"]]}, "request.headers[0][0]: must not contain line breaks"),
        ({"headers": [["a", "c\r\nX-Smuggled: 1"]]}, "request.headers[0][1]: must not contain line breaks"),
        ({"headers": [["a:b", "c"]]}, 'request.headers[0][0]: must not contain ":"'),
        ({"method": "GET / HTTP/1.1\r\nX: "}, "request.method: must not contain line breaks"),
        ({"clientCertificate": {"cn": "a"}}, "request.clientCertificate.cn: unknown field"),
    ],
)
def test_what_is_wrong_is_named(request_document: dict[str, Any], problem: str) -> None:
    assert problem_of({"request": request_document}) == problem


def test_a_question_is_an_object_with_a_request() -> None:
    assert problem_of([]) == "must be an object, got a list"
    assert problem_of({}) == "request: is required"
    assert problem_of({"request": {}, "snapshot": {"id": "x"}}) == "snapshot.id: unknown field"
