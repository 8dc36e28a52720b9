"""Inline authorization: CEL rules, of which the first that is true decides."""

from typing import Annotated, ClassVar, Literal, Self

from pydantic import model_validator

from vrata.model.errors import FixedText, fixed
from vrata.model.number import AnswerStatus
from vrata.model.part import ListOf, Part
from vrata.model.text import Expression

Action = Annotated[Literal["allow", "deny"], FixedText('{path} must be "allow" or "deny", got {value}')]


class AuthzRule(Part):
    """A condition and what follows from it."""

    always_shown: ClassVar[frozenset[str]] = frozenset({"cel"})

    cel: Expression = ""
    """CEL expression over `request`."""
    action: Action
    """What happens when it is true."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.cel.strip():
            raise fixed("{path}.cel must not be empty")
        return self


class InlineAuthz(Part):
    """Settings of an `inlineAuthz` middleware."""

    always_shown: ClassVar[frozenset[str]] = frozenset({"rules", "default_action"})

    rules: ListOf[AuthzRule] = ()
    """Rules from top to bottom; at least one."""
    default_action: Action = "deny"
    """What happens when no rule is true."""
    deny_status: AnswerStatus = 403
    """Status of a denial."""
    deny_body: str = '{"error":"access denied"}'
    """Body of a denial."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.rules:
            raise fixed("{path}.rules must not be empty")
        return self
