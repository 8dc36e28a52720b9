"""Where an expression goes wrong, and what is said of it."""

from __future__ import annotations

import pytest

from vrata.expressions import CLAIMS, LONGEST_EXPRESSION, InvalidExpression, Position, compile_expression
from vrata.expressions.environment import REQUEST


def refusal(text: str, environment: object = REQUEST) -> InvalidExpression:
    with pytest.raises(InvalidExpression) as refused:
        compile_expression(text, CLAIMS if environment is CLAIMS else REQUEST)
    return refused.value


@pytest.mark.parametrize(
    ("text", "line", "column", "reason"),
    [
        ("", 1, 1, "the expression is empty"),
        (" \n ", 1, 1, "the expression is empty"),
        ("// nothing", 1, 11, "the expression ends too early"),
        ("a b", 1, 3, 'unexpected "b"'),
        ("a &&", 1, 5, "the expression ends too early"),
        ("a &&\n  (b ||  ", 2, 8, "the expression ends too early"),
        ("a ==\n == b", 2, 2, 'unexpected "=="'),
        ("a & b", 1, 3, "unexpected character '&'"),
        ('a == "b', 1, 6, "the string is not closed"),
        ("a = 1", 1, 3, "unexpected character '='"),
        ("f(a", 1, 4, "the expression ends too early"),
        ("a)", 1, 2, 'unexpected ")"'),
        ("size([],)", 1, 9, 'unexpected ")"'),
        ("'é' == '\\q'", 1, 9, "unknown escape \\q"),
        ("'\\ud800' == ''", 1, 2, "\\ud800 is no character"),
        ("1 == 9223372036854775808", 1, 6, "the number does not fit in an int, which has 64 bits"),
        ("while", 1, 1, '"while" is a reserved word'),
        ("has(request)", 1, 1, "has() takes one argument of the form a.b"),
        ("[1].all(2, true)", 1, 9, "the first argument of all() must be the name of a variable"),
        ("Duration{}", 1, 9, "messages cannot be made: there are no message types"),
        ("x" * (LONGEST_EXPRESSION + 1), 1, 1, "the expression has 16385 characters, at most 16384 are allowed"),
        ("(" * 64 + "true" + ")" * 64, 1, 65, "the expression is nested more than 64 levels deep"),
        ("!" * 5000 + "true", 1, 65, "the expression is nested more than 64 levels deep"),
        ("1" + " + 1" * 100 + " == 1", 1, 3, "more than 100 operations wait for each other here"),
        ("user == 'a'", 1, 1, 'unknown variable "user"; there is request'),
        ("true &&\n  claims.sub == ''", 2, 3, 'unknown variable "claims"; there is request'),
        (
            "request.header['a'] == ''",
            1,
            9,
            'request has no field "header"; it has method, path, host, scheme, headers, queryParams, clientIp, body,',
        ),
        ("request['nope'] == ''", 1, 9, "request has no field"),
        ("has(request.boddy)", 1, 13, "request has no field"),
        ("request.body.text == ''", 1, 14, 'request.body has no field "text"; it has raw, json'),
        ("request.tls.peerCertificate.cn == ''", 1, 29, "request.tls.peerCertificate has no field"),
        ("request.path.foo == ''", 1, 14, 'string has no field "foo"'),
        ("has(request.path.foo)", 1, 18, 'string has no field "foo"'),
        ("request.headers['X-Role'] == ''", 1, 17, 'the names of headers are in lower case here: use "x-role"'),
        ("'X-Role' in request.headers", 1, 1, 'the names of headers are in lower case here: use "x-role"'),
        ("has(request.headers.Accept)", 1, 21, 'the names of headers are in lower case here: use "accept"'),
        ("request.headers['host'] == ''", 1, 17, "the host is not among the headers: use request.host"),
        ("request.headers[1] == ''", 1, 17, "the keys of request.headers are of type string, got int"),
        ("1 in request.headers", 1, 3, "no operator in for int and map<string, string>"),
        ("request.path == 1", 1, 14, "no operator == for string and int"),
        ("request.path > 1", 1, 14, "no operator > for string and int"),
        ("request.path + 1 == ''", 1, 14, "no operator + for string and int"),
        ("!request.path", 1, 1, "no operator ! for string"),
        ("request.path && true", 1, 9, "a bool is needed here, got string"),
        ("request.path", 1, 9, "a bool is needed here, got string"),
        ("request", 1, 1, "a bool is needed here, got map"),
        ("true ? 1 : 2", 1, 6, "a bool is needed here, got int"),
        ("true ? 1 : 'a'", 1, 6, "the branches are of different types: int and string"),
        ("request.path.startsWith(1)", 1, 14, "no method string.startsWith(int)"),
        ("request.path.upper()", 1, 14, 'unknown method "upper"'),
        ("upper(request.path)", 1, 1, 'unknown function "upper"'),
        ("int(true) == 1", 1, 1, "no function int(bool)"),
        ("request.path.matches('(a')", 1, 22, "invalid regular expression '(a': missing ): (a"),
        ("matches(request.path, '(?=a)')", 1, 23, "invalid regular expression"),
        ("request.path.matches(1)", 1, 14, "no method string.matches(int)"),
        ("[1, 2]['a'] == 1", 1, 8, "the index of a list is of type int, got string"),
        ("{'a': 1}[1] == 1", 1, 10, "the keys of this map are of type string, got int"),
        ("request.path[0] == 'a'", 1, 13, "string has no items"),
        ("{1.5: 1} == {}", 1, 2, "the key of a map is a bool, int, uint or string, got double"),
        ("request.path.all(c, true)", 1, 14, "all() visits a list or a map, got string"),
        ("[1].all(e, e)", 1, 12, "a bool is needed here, got int"),
        ("timestamp(0).getHours('Europe/Atlantis') == 0", 1, 23, "unknown time zone"),
    ],
)
def test_where_and_why(text: str, line: int, column: int, reason: str) -> None:
    error = refusal(text)
    assert error.position == Position(line, column)
    assert error.reason.startswith(reason)
    assert str(error) == f"line {line}, column {column}: {error.reason}"


def test_claims_are_another_environment() -> None:
    assert refusal("request.path == ''", CLAIMS).reason == 'unknown variable "request"; there is claims, now'
    assert refusal("now == 'a'", CLAIMS).reason == "no operator == for int and string"
    assert refusal("claims.roles.join(',') + 1 == ''", CLAIMS).reason == "no operator + for string and int"


def test_a_value_of_any_type_where_it_is_wanted() -> None:
    assert compile_expression("1 + 1", any_result=True).evaluate(None) == 2  # type: ignore[arg-type]  # reads nothing
    assert refusal("1 + 1").reason == "a bool is needed here, got int"
