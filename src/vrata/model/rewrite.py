"""Rewriting of path and host on the way to the upstream."""

from typing import ClassVar, Self

from pydantic import model_validator

from vrata.model.errors import Problem, broken
from vrata.model.host import Authority
from vrata.model.part import Part
from vrata.model.text import HeaderName, Path, Regex


class RewriteRegex(Part):
    """A replacement of every occurrence of a pattern in the path."""

    always_shown: ClassVar[frozenset[str]] = frozenset({"substitution"})

    pattern: Regex
    """What is replaced."""
    substitution: str = ""
    """The replacement; groups as `\\\\1`, `$1` or `${name}`; a query may follow a `?`."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.pattern:
            raise broken(Problem("pattern", "must not be empty"))
        return self


class Rewrite(Part):
    """What the upstream sees instead of the client's path and host: at most one of `path` and `pathRegex`, and at most
    one of `host`, `hostFromHeader` and `autoHost`."""

    path: Path = ""
    """Replaces the matched part of the path; what follows it is kept."""
    path_regex: RewriteRegex | None = None
    """Replaces by a pattern."""
    host: Authority = ""
    """The Host header: a host, with a port if need be."""
    host_from_header: HeaderName = ""
    """Name of the request header that holds the new Host."""
    auto_host: bool = False
    """Take the destination's `host`, without a port."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        problems = []
        if self.path and self.path_regex is not None:
            problems.append(Problem("pathRegex", "must not be given together with path"))
        hosts = {"host": self.host, "hostFromHeader": self.host_from_header, "autoHost": self.auto_host}
        first, *others = [name for name, value in hosts.items() if value] or [""]
        problems += [
            Problem(name, f"must not be given together with {first}: at most one of host, hostFromHeader and autoHost")
            for name in others
        ]
        if problems:
            raise broken(*problems)
        return self
