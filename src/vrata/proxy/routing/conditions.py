"""Conditions compiled for asking: all that an entry wants of a request beside its path.

A condition is a predicate with the words to explain its verdict. They are asked in the order hostname, method, gRPC,
headers, query parameters, expression, cheap before dear, until one fails.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from vrata.expressions import EvaluationError, Expression
from vrata.expressions.pattern import compile_pattern
from vrata.proxy.contracts import BodyNeeded, RequestView
from vrata.proxy.routing.composition import MatchConditions, ValueMatch
from vrata.proxy.routing.hostname import by_class, covers, normalised

Predicate = Callable[[RequestView], bool]
Compile = Callable[[str], Expression]
"""Makes an expression of its text. Raises InvalidExpression."""

_GRPC = "application/grpc"
_LONGEST_VALUE = 200
"""Characters of an expression's value that an explanation shows."""


def shown_value(value: object) -> str:
    """The *value* of an expression that is no bool, as an explanation shows it."""
    return repr(value)[:_LONGEST_VALUE]


@dataclass(frozen=True, slots=True)
class Condition:
    """One thing an entry wants of a request."""

    name: str
    """The noun it is about, e.g. ``method`` or ``header x-user``."""
    expected: str
    """What it wants, in words."""
    holds: Predicate
    seen: Callable[[RequestView], str | None]
    """What the request has instead; None for nothing."""

    def failure(self, request: RequestView) -> str | None:
        """Return why the condition does not hold for *request*, or None when it does."""
        if self.holds(request):
            return None
        seen = self.seen(request)
        return f"expected {self.expected}, got {'none' if seen is None else repr(seen)}"


class Hostnames:
    """The hostnames of an entry, sorted by how specific they are, and the condition on all of them."""

    __slots__ = ("classes", "condition", "least")

    def __init__(self, hostnames: Iterable[str]) -> None:
        names = tuple(dict.fromkeys(map(normalised, hostnames)))
        self.classes = by_class(names)
        self.least = max(self.classes)
        """The least specific class."""
        self.condition = (
            Condition(
                "hostname",
                _one_of(names),
                lambda request: any(covers(name, request.host) for name in names),
                lambda request: request.host,
            )
            if names
            else None
        )


class Wants:
    """What an entry wants of a request beside path and hostname."""

    __slots__ = ("checks", "conditions", "specificity")

    def __init__(self, wanted: MatchConditions, compile_expression: Compile) -> None:
        """Compile. Raises InvalidPattern and InvalidExpression."""
        conditions: list[Condition] = []
        if wanted.methods:
            conditions.append(_method_condition(wanted.methods))
        if wanted.grpc:
            conditions.append(_GRPC_CONDITION)
        conditions += [_header_condition(each) for each in wanted.headers]
        conditions += [_query_condition(each) for each in wanted.query_parameters]
        if wanted.cel:
            conditions.append(_expression_condition(compile_expression(wanted.cel)))
        self.conditions = tuple(conditions)
        """In the order of asking."""
        self.checks = tuple([condition.holds for condition in conditions])
        """Their predicates."""
        self.specificity = (
            -len(wanted.headers),
            -len(wanted.query_parameters),
            0 if wanted.methods else 1,
            0 if wanted.grpc else 1,
            0 if wanted.cel else 1,
        )
        """Sorts entries that agree in path and hostname: ascending, the first wins."""


def _method_condition(methods: tuple[str, ...]) -> Condition:
    allowed = frozenset(method.upper() for method in methods)
    return Condition(
        "method", _one_of(sorted(allowed)), lambda request: request.method in allowed, lambda request: request.method
    )


def _is_grpc(request: RequestView) -> bool:
    content_type = request.header("content-type")
    return content_type is not None and content_type[: len(_GRPC)].lower() == _GRPC


_GRPC_CONDITION = Condition(
    "grpc", f"a content type that begins with {_GRPC}", _is_grpc, lambda request: request.header("content-type")
)


def _header_condition(wanted: ValueMatch) -> Condition:
    # An empty field value counts as absent, for every kind of condition.
    name = wanted.name.lower()
    value = wanted.value
    holds: Predicate
    if not value:
        expected = "a value"

        def holds(request: RequestView) -> bool:
            return bool(request.header(name))
    elif wanted.regex:
        expected = f"a match of {value!r}"
        search = compile_pattern(value).search

        def holds(request: RequestView) -> bool:
            got = request.header(name)
            return got is not None and got != "" and search(got.encode("utf-8", "surrogateescape")) is not None
    else:
        expected = repr(value)

        def holds(request: RequestView) -> bool:
            return request.header(name) == value

    return Condition(f"header {name}", expected, holds, lambda request: request.header(name))


def _query_condition(wanted: ValueMatch) -> Condition:
    # An empty value is a value here: `?flag` carries the parameter.
    name = wanted.name
    value = wanted.value
    holds: Predicate
    if not value:
        expected = "a value, if only the empty one"

        def holds(request: RequestView) -> bool:
            return request.query_parameter(name) is not None
    elif wanted.regex:
        expected = f"a match of {value!r}"
        search = compile_pattern(value).search

        def holds(request: RequestView) -> bool:
            got = request.query_parameter(name)
            return got is not None and search(got.encode("utf-8", "surrogateescape")) is not None
    else:
        expected = repr(value)

        def holds(request: RequestView) -> bool:
            return request.query_parameter(name) == value

    return Condition(f"query parameter {name}", expected, holds, lambda request: request.query_parameter(name))


def _expression_condition(expression: Expression) -> Condition:
    holds: Predicate
    if expression.reads_body:

        def holds(request: RequestView) -> bool:
            if request.body_pending:
                raise BodyNeeded(expression.text)
            return expression.holds(request)
    else:
        holds = expression.holds

    def seen(request: RequestView) -> str:
        try:
            value = expression.evaluate(request)
        except EvaluationError as error:
            return f"error: {error}"
        if isinstance(value, bool):
            return "true" if value else "false"
        return f"{shown_value(value)}, which is no bool"

    return Condition("cel", f"{expression.text!r} to be true", holds, seen)


def _one_of(values: Iterable[str]) -> str:
    return " or ".join(map(repr, values))
