"""Match conditions of routes; all of them have to hold."""

from collections.abc import Iterator
from typing import ClassVar, Self

from pydantic import model_validator

from vrata.model.errors import Problem, broken
from vrata.model.host import HostnameCondition
from vrata.model.part import ListOf, Part
from vrata.model.reference import contains_reference
from vrata.model.text import Expression, HeaderName, Method, NonEmpty, Path, Regex, check_regex


def _regex_problems(value: str, is_regex: bool) -> Iterator[Problem]:
    if is_regex and not contains_reference(value):
        try:
            check_regex(value)
        except ValueError as error:
            yield Problem("value", str(error))


class ValueMatcher(Part):
    """A condition on the first value that goes by a name."""

    name: NonEmpty
    """The name."""
    value: str = ""
    """The value, or a regular expression to be found in it; empty = presence is enough."""
    regex: bool = False
    """Read `value` as a regular expression."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if problems := [*_regex_problems(self.value, self.regex)]:
            raise broken(*problems)
        return self


class HeaderMatcher(ValueMatcher):
    """A condition on the first value of a request header."""

    name: HeaderName
    """Name of the header, in any case."""


class QueryMatcher(ValueMatcher):
    """A condition on the first value of a query parameter."""

    name: NonEmpty
    """Name of the parameter."""


class Match(Part):
    """Conditions on a request, at most one of `path`, `pathPrefix` and `pathRegex` among them. Without any, every
    request matches."""

    _paths: ClassVar[tuple[tuple[str, str], ...]] = (
        ("path", "path"),
        ("path_prefix", "pathPrefix"),
        ("path_regex", "pathRegex"),
    )

    path: Path = ""
    """The whole path."""
    path_prefix: Path = ""
    """The first segments of the path."""
    path_regex: Regex = ""
    """A regular expression, anchored at the start of the path."""
    methods: ListOf[Method] = ()
    """Methods, any of them; empty = all. Made upper-case."""
    hostnames: ListOf[HostnameCondition] = ()
    """Host names, any of them; empty or `*` = all."""
    headers: ListOf[HeaderMatcher] = ()
    """Conditions on headers."""
    query_params: ListOf[QueryMatcher] = ()
    """Conditions on query parameters."""
    grpc: bool = False
    """Only gRPC: the content type starts with `application/grpc`."""
    cel: Expression = ""
    """A further condition, evaluated last."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        stated = [alias for name, alias in self._paths if getattr(self, name)]
        if len(stated) > 1:
            problem = f"must not be given together with {stated[0]}: at most one of path, pathPrefix and pathRegex"
            raise broken(*(Problem(alias, problem) for alias in stated[1:]))
        return self
