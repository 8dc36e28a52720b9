"""Laws of expressions that hold for any text and any operands."""

from __future__ import annotations

import math
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.support.expressions import ERROR, INVALID, UNTYPED, RequestExample, value_of
from vrata.expressions import EvaluationError, InvalidExpression, compile_expression
from vrata.expressions.parser import parse

SYMBOLS = "request . headers [ ] ( ) { } , : ? && || ! == != < <= > >= + - * / % in \n //c\n"
NAMES = "method path body json raw tls has size all exists map filter matches startsWith x y int type dyn"
VALUES = "'a' \"b\" b'c' r'\\d' '''d''' '\\n' 1 2u 0x1F 1.5 1e9 true null timestamp(0) duration('1s') .getHours('UTC')"
WORDS = [*SYMBOLS.split(" "), *NAMES.split(" "), *VALUES.split(" ")]
texts = st.text("ab.(\"')[]{}&|=!<>?:,+-*/%0123 \n\\trueré`", max_size=24) | st.lists(
    st.sampled_from(WORDS), max_size=14
).map(" ".join)


@settings(max_examples=400)
@example("\ud800")
@example("'\ud800'")
@example("b'\ud800'")
@example("request.path.matches('\ud800')")
@given(texts)
def test_any_text_is_an_expression_or_refused_within_it(text: str) -> None:
    try:
        expression = compile_expression(text, any_result=True)
    except InvalidExpression as error:
        lines = text.split("\n")
        line, column = error.position
        assert 1 <= line <= len(lines)
        assert 1 <= column <= len(lines[line - 1]) + 1
        return
    request = RequestExample(headers={"a": "b"}, body=b"{}", body_json={})
    try:
        value = expression.evaluate(request)
    except EvaluationError:
        value = ERROR
    assert expression.holds(request) is (value is True)


operands = st.sampled_from(["true", "false", "x", "dyn(1)", "1 / 0 == 1"])
"""Terms of a condition: two decide, one has no value, one is of the wrong type, one is an error."""


def truth(text: str) -> Any:
    return value_of(text)


@given(st.lists(operands, min_size=2, max_size=6), st.randoms())
def test_the_order_of_operands_does_not_matter(terms: list[str], random: Any) -> None:
    shuffled = random.sample(terms, len(terms))
    for operator, decisive in (("&&", "false"), ("||", "true")):
        value = truth(f" {operator} ".join(terms))
        assert value is truth(f" {operator} ".join(shuffled))
        if decisive in terms:
            assert value is (decisive == "true")
        elif set(terms) <= {"true", "false"}:
            assert value is (decisive == "false")
        else:
            assert value is ERROR


@given(st.lists(operands, min_size=2, max_size=6))
def test_macros_are_operators_over_elements(terms: list[str]) -> None:
    chosen = " : ".join(f"e == {index} ? {term}" for index, term in enumerate(terms)) + " : dyn(0)"
    elements = list(range(len(terms)))
    assert truth(f"{elements}.all(e, dyn({chosen}))") is truth(" && ".join(terms))
    assert truth(f"{elements}.exists(e, dyn({chosen}))") is truth(" || ".join(terms))


@given(operands, operands)
def test_de_morgan(one: str, other: str) -> None:
    assert truth(f"!(({one}) && ({other}))") is truth(f"!({one}) || !({other})")


@given(st.integers(-(2**63), 2**63 - 1), st.integers(-(2**63), 2**63 - 1))
def test_arithmetic_is_that_of_integers_or_an_error(one: int, other: int) -> None:
    for operator, exact in (("+", one + other), ("-", one - other), ("*", one * other)):
        expected = exact if -(2**63) <= exact < 2**63 else ERROR
        assert value_of(f"x {operator} y", {"x": one, "y": other}) == expected
    if other:
        quotient = value_of("x / y", {"x": one, "y": other})
        remainder = value_of("x % y", {"x": one, "y": other})
        if quotient is not ERROR:
            assert quotient * other + remainder == one
            assert abs(remainder) < abs(other)


@given(st.integers(-(2**63), 2**63 - 1), st.floats())
def test_numbers_are_ordered_across_types(number: int, double: float) -> None:
    less, equal, greater = (value_of(f"x {operator} y", {"x": number, "y": double}) for operator in ("<", "==", ">"))
    assert less + equal + greater == (0 if math.isnan(double) else 1)


@given(st.text(max_size=20), st.text(max_size=4))
def test_texts_agree_with_each_other(text: str, part: str) -> None:
    values = {"x": text, "y": part}
    assert value_of("x.startsWith(y) || x.endsWith(y) ? x.contains(y) : true", values) is True
    assert value_of("x.contains(y) == (y in x)", values) is True
    assert value_of("size(x + y) == size(x) + size(y)", values) is True
    assert value_of("string(bytes(x)) == x", values) is True


@given(st.text(max_size=12))
def test_any_text_can_be_written_as_a_literal(text: str) -> None:
    escaped = "".join(f"\\U{ord(character):08x}" for character in text)
    assert value_of(f"'{escaped}'") == text


@given(
    st.integers(1, 3000),
    st.sampled_from(
        ["(", "[", "{1:", "!", "-", "a.", "a[", "a?b:", "f(", "[1].all(a,", "1+", "1<1+1*(", ".a", "[0]", ".map(a, a)"]
    ),
)
def test_depth_never_exhausts_the_stack(count: int, piece: str) -> None:
    text = "x" + piece * count if piece[0] in ".[" and piece[-1] in "])a" else piece * count + "1"
    try:
        parse(text)
    except InvalidExpression:
        return
    try:
        compile_expression(text, UNTYPED, any_result=True)
    except InvalidExpression:
        return
    assert value_of(text) is not INVALID
