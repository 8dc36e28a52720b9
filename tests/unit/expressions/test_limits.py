"""Evaluations that would take too long end, whatever the values."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.support.expressions import RequestExample
from vrata.expressions import EvaluationError, compile_expression
from vrata.expressions.limits import BUDGET

BODY = {
    "items": list(range(11_000)),
    "words": [f"w{each}" for each in range(7_000)],
    "objects": [{"id": each, "name": str(each)} for each in range(2_500)],
}
REQUEST = RequestExample(
    path="/" + "a" * 60_000,
    headers={"x": "a" * 60_000, "pattern": "(a?){200}(a){200}", "span": "1h1m1.5s" * 8},
    body=b"ab" * 32_768,
    body_json=BODY,
)

HOSTILE = {
    "nested loops": "request.body.json.items.all(a, request.body.json.items.all(b, a + b >= 0))",
    "absorbed errors": "request.body.json.items.all(a, request.body.json.words.all(w, a.x > w))",
    "searching in a loop": "request.body.json.words.all(w, !request.body.raw.contains(w))",
    "text that doubles": "[request.body.raw]" + ".map(a, a + a)" * 40 + " == []",
    "list that doubles": "[[1]]" + ".map(a, a + a)" * 40 + " == []",
    "tree that doubles": "[[1]]" + ".map(a, [a, a])" * 40 + " == [[1]]" + ".map(a, [a, a])" * 40,
    "long sums of texts": "size(" + " + ".join(["request.body.raw"] * 90) + ") > 0",
    "many sums of texts": " && ".join(["size(request.body.raw + request.body.raw) > 0"] * 300),
    "many searches": " && ".join(["!request.headers.x.contains('aaaaaaaaab')"] * 350),
    "many patterns": " && ".join(f"!request.body.raw.matches('x[ab]*{each}')" for each in range(300)),
    "large pattern": "request.body.raw.matches('[ab]*a[ab]{900}c')",
    "patterns of the client": "request.body.json.items.all(a, !request.path.matches(request.headers.pattern))",
    "patterns in a loop": "request.body.json.items.all(a, !'a'.matches('(b{30}){30}' + string(a)))",
    "zones in a loop": "request.body.json.items.all(a, timestamp(a).getHours('Etc/GMT+' + string(a % 9)) < 25)",
    "durations in a loop": "request.body.json.items.all(a, duration(request.headers.span) > duration('0'))",
    "timestamps in a loop": "request.body.json.items.all(a, string(timestamp(a)) != '')",
    "a long header in a loop": "request.body.json.items.all(a, request.headers.x != string(a))",
    "a long header by its name in a loop": "['x'].all(x, request.body.json.items.all(a, request.headers[x] != ''))",
    "joining in a loop": "request.body.json.items.all(a, request.body.json.words.join('x') != '')",
    "comparing in a loop": "request.body.json.items.all(a, request.body.json == dyn(request).body.json)",
    "membership in a loop": "request.body.json.items.all(a, !(-1 in request.body.json.items))",
    "the whole request in a loop": "request.body.json.items.all(a, size(request) > 0)",
    "bytes in a loop": "request.body.json.items.all(a, size(bytes(request.body.raw)) > 0)",
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_evaluation_ends(text: str) -> None:
    expression = compile_expression(text)
    started = time.process_time()
    with pytest.raises(EvaluationError, match=rf"more than {BUDGET} units"):
        expression.evaluate(REQUEST)
    # It takes 20 to 60 ms; without the limit, the quickest of these would take a second, and most do not end.
    assert time.process_time() - started < 0.8
    assert not expression.holds(REQUEST)


def test_nothing_absorbs_the_limit() -> None:
    expression = compile_expression(HOSTILE["nested loops"] + " || true")
    with pytest.raises(EvaluationError, match="units"):
        expression.evaluate(REQUEST)
    assert not expression.holds(REQUEST)


@pytest.mark.parametrize(
    "text",
    [
        "request.body.json.items.all(a, a >= 0)",
        "request.body.json.objects.exists(o, o.id > 2400 && o.name.startsWith('24'))",
        "request.body.json.objects.filter(o, o.id % 2 == 0).map(o, o.name).size() == 1250",
        "request.body.json.words.join(',').contains('w6999')",
        "request.body.raw.matches('^(ab)+$') && !request.body.raw.contains('abc')",
        "request.body.raw + request.body.raw != request.body.raw",
        "'w6999' in request.body.json.words",
        "request.headers.x.matches('^a+$') && request.path.matches('(?i)^/A+$')",
    ],
)
def test_a_body_of_ordinary_size_fits(text: str) -> None:
    assert compile_expression(text).holds(REQUEST)


def test_a_limit_is_that_of_one_evaluation() -> None:
    expression = compile_expression("request.body.json.items.all(a, a + 1 > a)")
    assert all(expression.holds(REQUEST) for _ in range(10))


def test_values_nested_deeply() -> None:
    nested: Any = 1
    for _ in range(5_000):
        nested = [nested]
    other: Any = 1
    for _ in range(5_000):
        other = [other]
    request = RequestExample(body=b"", body_json={"a": nested, "b": other})
    expression = compile_expression("request.body.json.a == request.body.json.b")
    assert not expression.holds(request)
    with pytest.raises(EvaluationError, match="nested too deeply"):
        expression.evaluate(request)


def test_a_pattern_made_in_the_evaluation_is_short() -> None:
    request = RequestExample(headers={"pattern": "a" * 257})
    with pytest.raises(EvaluationError, match="at most 256 characters"):
        compile_expression("request.path.matches(request.headers.pattern)").evaluate(request)


def test_the_longest_expression_compiles_in_bounded_time() -> None:
    started = time.process_time()
    text = " && ".join(["request.path.matches('[a-z]+')"] * 480)
    assert 16_000 < len(text) <= 16_384
    assert compile_expression(text).holds(RequestExample())
    assert time.process_time() - started < 2
