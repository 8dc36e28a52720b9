"""CORS: which origins' pages may read answers, and preflight requests."""

from typing import Self

from pydantic import model_validator

from vrata.model.errors import Problem, broken
from vrata.model.number import Count
from vrata.model.part import ListOf, Part
from vrata.model.reference import contains_reference
from vrata.model.text import HeaderName, NonEmpty, Token, check_regex


class Origin(Part):
    """An origin that is allowed."""

    value: NonEmpty
    """The origin (`https://example.com`), `*` for any, or a regular expression."""
    regex: bool = False
    """Read `value` as a regular expression."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.regex and not contains_reference(self.value):
            try:
                check_regex(self.value)
            except ValueError as error:
                raise broken(Problem("value", str(error))) from None
        return self

    @property
    def is_any(self) -> bool:
        """Whether every origin is meant."""
        return self.value == "*" and not self.regex


class Cors(Part):
    """Settings of a `cors` middleware."""

    allow_origins: ListOf[Origin] = ()
    """Origins that are allowed, any of them."""
    allow_methods: ListOf[Token] = ()
    """Methods told to preflight requests."""
    allow_headers: ListOf[HeaderName] = ()
    """Request headers told to preflight requests."""
    expose_headers: ListOf[HeaderName] = ()
    """Response headers that pages may read."""
    max_age: Count = 0
    """Seconds for which clients may keep a preflight answer; 0 = not told."""
    allow_credentials: bool = False
    """Whether pages may send cookies and authorization; not for the origin `*`."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.allow_credentials and any(origin.is_any for origin in self.allow_origins):
            reason = 'must not be true while allowOrigins has "*": every site could act in the name of a visitor'
            raise broken(Problem("allowCredentials", reason))
        return self
