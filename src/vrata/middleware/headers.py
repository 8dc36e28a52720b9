"""Header fields: names in any case, each with one value or several."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping
from typing import TypeAlias

HeaderValues: TypeAlias = Mapping[str, str] | Iterable[tuple[str, str]]
"""What headers can be made of: a mapping, or pairs of name and value where a name may come again."""

_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


class Headers(MutableMapping[str, str]):
    """The header fields of a request or a response, in their order.

    As a mapping it has the first value of each name; setting one replaces all of them. :meth:`add` adds a value, and
    :meth:`get_all` has all of them. Names are found in any case, and are kept as they were written.

    Names and values are checked as they are set (RFC 9110 §5.1, §5.5): ``ValueError`` for a name that is no token, a
    value with line breaks or other control characters, and a field that is the gateway's own business, such as
    ``Content-Length``, ``Connection`` or a request's ``Host``. Bytes of the wire that are not UTF-8 are lone
    surrogates.
    """

    __slots__ = ("_changed", "_fields", "_frozen", "_hidden", "_is_settable", "_lines")

    def __init__(self, values: HeaderValues = ()) -> None:
        self._lines: list[bytes] | None = None
        self._hidden: frozenset[str] = frozenset()
        self._fields: list[tuple[str, str, str]] = []
        self._is_settable: Callable[[str], bool] | None = None
        self._frozen = False
        self._changed: set[str] = set()
        for name, value in _pairs(values):
            self.add(name, value)

    @classmethod
    def _of_lines(
        cls, lines: list[bytes], is_settable: Callable[[str], bool], hidden: frozenset[str] = frozenset()
    ) -> Headers:
        """Those of *lines* of the wire, without the names in *hidden*; *is_settable* tells what may be changed."""
        headers = cls()
        headers._lines = lines
        headers._hidden = hidden
        headers._is_settable = is_settable
        return headers

    def __repr__(self) -> str:
        # Values may be credentials, and this ends in logs.
        return f"<Headers {', '.join(self)}>"

    # -- looking ------------------------------------------------------------------------------------------------------

    def __getitem__(self, name: str) -> str:
        """The first value of *name*; ``KeyError`` without one."""
        key = name.lower()
        for known, _, value in self._read():
            if known == key:
                return value
        raise KeyError(name)

    def __contains__(self, name: object) -> bool:
        """Tell whether there is a field of that name."""
        if not isinstance(name, str):
            return False
        key = name.lower()
        return any(known == key for known, _, _ in self._read())

    def __iter__(self) -> Iterator[str]:
        """Each name once, as it was first written."""
        names: dict[str, str] = {}
        for key, name, _ in self._read():
            names.setdefault(key, name)
        return iter(names.values())

    def __len__(self) -> int:
        """How many names there are."""
        return len({key for key, _, _ in self._read()})

    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        """Tell whether the same names have the same values, in the same order for each."""
        return self._by_name() == other._by_name() if isinstance(other, Headers) else NotImplemented

    def get_all(self, name: str) -> list[str]:
        """Every value of *name*, in order; empty without any."""
        key = name.lower()
        return [value for known, _, value in self._read() if known == key]

    def fields(self) -> list[tuple[str, str]]:
        """Every name with its value, in order; a name comes as often as it has values."""
        return [(name, value) for _, name, value in self._read()]

    # -- changing -----------------------------------------------------------------------------------------------------

    def __setitem__(self, name: str, value: str) -> None:
        """Make *value* the only one of *name*."""
        key, value = self._checked(name), _checked_value(name, value)
        self._drop(key)
        self._fields.append((key, name, value))

    def __delitem__(self, name: str) -> None:
        """Remove every value of *name*; ``KeyError`` without any."""
        key = self._checked(name)
        if name not in self:
            raise KeyError(name)
        self._drop(key)

    def add(self, name: str, value: str) -> None:
        """Give *name* one more value."""
        key, value = self._checked(name), _checked_value(name, value)
        self._changed.add(key)
        self._read().append((key, name, value))

    def _drop(self, key: str) -> None:
        self._fields = [field for field in self._read() if field[0] != key]
        self._changed.add(key)

    def _checked(self, name: str) -> str:
        """The key of *name*, if that can be changed."""
        if not isinstance(name, str):
            raise TypeError(f"the name of a header must be a str, not {type(name).__name__}")
        if _NAME.fullmatch(name) is None:
            raise ValueError(f"no name of a header: {name[:60]!r}")
        if self._frozen:
            raise ValueError(f"the request has gone on: its header {name} cannot be changed any more")
        if self._is_settable is not None and not self._is_settable(name):
            raise ValueError(f"the header {name} is the gateway's own and cannot be changed")
        return name.lower()

    # -- for the gateway ----------------------------------------------------------------------------------------------

    def _read(self) -> list[tuple[str, str, str]]:
        """The fields as key, name and value."""
        lines = self._lines
        if lines is not None:
            self._lines = None
            for line in lines:
                name, _, value = line.partition(b":")
                text = name.decode("ascii")
                key = text.lower()
                if key not in self._hidden:
                    self._fields.append((key, text, value.strip(b" \t").decode("utf-8", "surrogateescape")))
        return self._fields

    def _by_name(self) -> dict[str, list[str]]:
        values: dict[str, list[str]] = {}
        for key, _, value in self._read():
            values.setdefault(key, []).append(value)
        return values

    def _changes(self) -> tuple[set[bytes], bytes]:
        """The names, in lower case, whose fields have changed, and the lines that they have now, each with its CRLF."""
        changed = self._changed
        if not changed:
            return set(), b""
        fields = [(name, value) for key, name, value in self._read() if key in changed]
        return {key.encode("ascii") for key in changed}, _encoded(fields)

    def _encode(self) -> bytes:
        """All lines, each with its CRLF."""
        return _encoded(self.fields())


def _pairs(values: HeaderValues) -> Iterable[tuple[str, str]]:
    if isinstance(values, Headers):
        return values.fields()
    return values.items() if isinstance(values, Mapping) else values


def _checked_value(name: str, value: str) -> str:
    if not isinstance(value, str):
        raise TypeError(f"the value of the header {name} must be a str, not {type(value).__name__}")
    if _CONTROL.search(value) is not None:
        raise ValueError(f"the value of the header {name} has line breaks or other control characters in it")
    try:
        value.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise ValueError(f"the value of the header {name} is no text: it has half of a surrogate pair in it") from None
    return value.strip(" \t")


def _encoded(fields: list[tuple[str, str]]) -> bytes:
    return b"".join(
        b"%s: %s\r\n" % (name.encode("ascii"), value.encode("utf-8", "surrogateescape")) for name, value in fields
    )
