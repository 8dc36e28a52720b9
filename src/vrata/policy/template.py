"""Templates: texts of the configuration with placeholders, ``${request.host}``, that each request fills in.

A template is compiled once; one without placeholders costs nothing more than itself. What is filled in is never looked
at again, so no client can write a placeholder. What the table of placeholders does not know stays as it is written.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final, Generic, Protocol, TypeVar

_PLACEHOLDER: Final = re.compile(r"\$\{([^${}]*)\}")
_CONTROLS: Final = bytes([*range(9), *range(10, 32), 127])
"""What no field value may hold (RFC 9110 §5.5): all control characters but the tab."""
_ENDS: Final = b" \t"

V = TypeVar("V")
Reader = Callable[[V], str]
"""Reads what one placeholder stands for."""
NamedReader = Callable[[V, str], str]
"""Reads what a placeholder stands for whose name ends with that text, such as a field's name."""


class Placeholders(Generic[V]):
    """The placeholders that a template may have, and what fills them in."""

    __slots__ = ("fields", "values")

    def __init__(self, values: Mapping[str, Reader[V]], fields: Mapping[str, NamedReader[V]]) -> None:
        self.values = values
        """By name."""
        self.fields = fields
        """By the beginning of the name, with its dot; the rest names a field, and is handed over in lower case."""

    def __repr__(self) -> str:
        return f"<Placeholders {', '.join([*self.values, *self.fields])}>"

    def part(self, name: str) -> _Part[V] | None:
        """What fills in the placeholder *name*; None when there is none of that name."""
        reader = self.values.get(name)
        if reader is not None:
            return _Value(reader)
        for beginning, named in self.fields.items():
            if name.startswith(beginning) and len(name) > len(beginning):
                return _FieldValue(named, name[len(beginning) :].lower())
        return None


class _Part(Generic[V]):
    """One placeholder of a template, and the text that follows it."""

    __slots__ = ("following",)

    def __init__(self) -> None:
        self.following = ""

    def value(self, values: V) -> str:
        raise NotImplementedError


class _Value(_Part[V]):
    __slots__ = ("_reader",)

    def __init__(self, reader: Reader[V]) -> None:
        super().__init__()
        self._reader = reader

    def value(self, values: V) -> str:
        return self._reader(values)


class _FieldValue(_Part[V]):
    __slots__ = ("_name", "_reader")

    def __init__(self, reader: NamedReader[V], name: str) -> None:
        super().__init__()
        self._reader = reader
        self._name = name

    def value(self, values: V) -> str:
        return self._reader(values, self._name)


class Template(Generic[V]):
    """A compiled text; made by :func:`compile_template`."""

    __slots__ = ("_beginning", "_field", "_parts")

    def __init__(self, beginning: str, parts: list[_Part[V]]) -> None:
        self._beginning = beginning
        self._parts = parts
        self._field = field_value(beginning)

    def __repr__(self) -> str:
        return f"<Template {self._beginning!r} and {len(self._parts)} placeholders>"

    @property
    def is_constant(self) -> bool:
        """True when nothing is to be filled in."""
        return not self._parts

    @property
    def constant_field(self) -> bytes:
        """What a constant text is as the value of a field."""
        return self._field

    def render(self, values: V) -> str:
        """Return the text, with *values* filled in. Bytes of a client that are not UTF-8 are surrogate escapes."""
        if not self._parts:
            return self._beginning
        text = self._beginning
        for part in self._parts:
            text += part.value(values) + part.following
        return text

    def render_field(self, values: V) -> bytes:
        """Return the text as the value of a field: without control characters, and without white space around it."""
        if not self._parts:
            return self._field
        return field_value(self.render(values))


def compile_template(text: str, placeholders: Placeholders[V]) -> Template[V]:
    """Compile *text*, whose placeholders are those of *placeholders*; what looks like others is text."""
    beginning = ""
    parts: list[_Part[V]] = []
    at = 0
    for found in _PLACEHOLDER.finditer(text):
        part = placeholders.part(found[1])
        if part is None:
            continue
        if parts:
            parts[-1].following = text[at : found.start()]
        else:
            beginning = text[: found.start()]
        parts.append(part)
        at = found.end()
    if parts:
        parts[-1].following = text[at:]
    else:
        beginning = text
    return Template(beginning, parts)


def unknown_placeholders(text: str, placeholders: Placeholders[V]) -> list[str]:
    """Return what looks like a placeholder in *text* and is none of *placeholders*: it stays as it is written."""
    return [found[0] for found in _PLACEHOLDER.finditer(text) if placeholders.part(found[1]) is None]


def field_value(text: str) -> bytes:
    """Return *text* as the value of a field: UTF-8, no control character but the tab, no white space at its ends.

    Surrogate escapes become the bytes that they stand for; a lone surrogate, which stands for none, becomes ``?``.
    """
    try:
        value = text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        value = text.encode("utf-8", "replace")
    return value.translate(None, _CONTROLS).strip(_ENDS)


class HeadValues(Protocol):
    """The head of a request, as templates see it."""

    @property
    def method(self) -> bytes:
        """As received."""
        ...

    @property
    def authority(self) -> bytes:
        """Host as received."""
        ...

    @property
    def host(self) -> str:
        """The authority without its port, in lower case."""
        ...

    @property
    def path(self) -> str:
        """Percent-decoded, without the query."""
        ...

    def header(self, name: str) -> str | None:
        """First value of the field *name* (lower case), if it is one that expressions see as well."""
        ...


class RequestValues(Protocol):
    """A request, as templates see it."""

    @property
    def head(self) -> HeadValues:
        """Its head."""
        ...

    @property
    def scheme(self) -> str:
        """``http`` or ``https``."""
        ...


def _host(request: RequestValues) -> str:
    return request.head.host


def _authority(request: RequestValues) -> str:
    return request.head.authority.decode("utf-8", "surrogateescape")


def _path(request: RequestValues) -> str:
    return request.head.path


def _method(request: RequestValues) -> str:
    return request.head.method.decode("ascii")


def _scheme(request: RequestValues) -> str:
    return request.scheme


def _header(request: RequestValues, name: str) -> str:
    return request.head.header(name) or ""


REQUEST_PLACEHOLDERS: Final[Placeholders[RequestValues]] = Placeholders(
    {
        "request.host": _host,
        "request.authority": _authority,
        "request.path": _path,
        "request.method": _method,
        "request.scheme": _scheme,
    },
    {"request.header.": _header},
)
"""What can be said of a request alone. The names mean what they mean in expressions."""
