"""Access log: a line for each request, each response, or both."""

from typing import ClassVar, Self

from pydantic import Field, model_validator

from vrata.model.errors import Problem, broken
from vrata.model.part import Part
from vrata.model.text import NonEmpty


class LogEntry(Part):
    """One kind of line."""

    always_shown: ClassVar[frozenset[str]] = frozenset({"fields"})

    fields: dict[str, str] = Field(default_factory=dict)
    """Names and templates with placeholders such as `${request.path}`."""


class AccessLog(Part):
    """Settings of an `accessLog` middleware: `onRequest`, `onResponse` or both."""

    path: NonEmpty
    """`stdout`, `stderr` (also as `/dev/...`), or a file that lines are appended to."""
    json_lines: bool = Field(default=False, alias="json")
    """Write JSON objects instead of `key=value` pairs."""
    on_request: LogEntry | None = None
    """The line written before the request goes on."""
    on_response: LogEntry | None = None
    """The line written after the response."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.on_request is None and self.on_response is None:
            raise broken(Problem(".", "needs onRequest, onResponse or both"))
        return self
