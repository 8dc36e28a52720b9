"""Python: a class of the user's own, in a module on the proxy's machine."""

import re
from math import isfinite
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field

from vrata.model.duration import PositiveDuration
from vrata.model.number import Count
from vrata.model.part import Part

_CLASS = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}:[A-Za-z_][A-Za-z0-9_]{0,99}")

MAX_DEPTH = 32
"""Objects and lists inside one another in `settings`."""

BodyMode = Literal["none", "buffered"]


def _check_class(text: str) -> str:
    # No dots: a module is a file of a directory that the proxy allows, never part of a package that it has installed.
    if _CLASS.fullmatch(text) is None:
        raise ValueError(f'must be "module:Class", each a name of ASCII letters, digits and "_", got "{text[:60]}"')
    return text


def _check_settings(settings: dict[str, Any]) -> dict[str, Any]:
    level: list[Any] = [settings]
    for _ in range(MAX_DEPTH):
        members = [member for value in level for member in _members(value)]
        for member in members:
            _check_plain(member)
        level = [member for member in members if isinstance(member, dict | list)]
        if not level:
            return settings
    raise ValueError(f"must not be nested deeper than {MAX_DEPTH} levels")


def _members(value: dict[str, Any] | list[Any]) -> list[Any]:
    return [*value, *value.values()] if isinstance(value, dict) else value


def _check_plain(value: Any) -> None:
    """Demand what JSON in UTF-8 has."""
    if isinstance(value, float) and not isfinite(value):
        raise ValueError("must not contain numbers that are not finite")
    if isinstance(value, str):
        try:
            value.encode("utf-8")
        except UnicodeEncodeError:
            raise ValueError("must be valid Unicode text") from None
    elif not (value is None or isinstance(value, bool | int | float | list | dict)):
        raise ValueError("must be JSON")


ClassSettings = Annotated[dict[str, Any], AfterValidator(_check_settings)]
"""What a class is made with: any JSON object."""


class Python(Part):
    """Settings of a `python` middleware."""

    always_shown: ClassVar[frozenset[str]] = frozenset({"class_name"})

    class_name: Annotated[str, AfterValidator(_check_class)] = Field(alias="class")
    """The class, as `module:Class`; the module is a file of a directory in `proxy.pythonMiddlewares.path`."""
    settings: ClassSettings = Field(default_factory=dict)
    """What the class is made with: any JSON object."""
    request_body: BodyMode = "none"
    """Whether `on_request` gets the request's body; the request waits for it."""
    response_body: BodyMode = "none"
    """Whether `on_response` gets the response's body; the response waits for it."""
    max_body_bytes: Count = 1_048_576
    """Bytes of a body that is waited for. More is answered with 413 in a request, and an error in a response."""
    timeout: PositiveDuration = PositiveDuration("1s")
    """Limit of one call of an `async` method."""
    failure_mode: Literal["deny", "allow"] = "deny"
    """What becomes of a request when the class fails: `deny` answers it with 500, `allow` lets it go on."""
