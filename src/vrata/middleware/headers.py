"""Header fields: names in any case, each with one value or several."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping
from typing import Any, Final, Protocol, TypeAlias

HeaderValues: TypeAlias = Mapping[str, str] | Iterable[tuple[str, str]]
"""What headers can be made of: a mapping, or pairs of name and value where a name may come again."""

_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_BLANKS = " \t"
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_MOST_REMEMBERED: Final = 1024
_LONGEST_REMEMBERED: Final = 64


class Headers(MutableMapping[str, str]):
    """The header fields of a request or a response, in their order.

    As a mapping it has the first value of each name; setting one replaces all of them. :meth:`add` adds a value, and
    :meth:`get_all` has all of them. Names are found in any case, and are kept as they were written.

    Names and values are checked as they are set (RFC 9110 §5.1, §5.5): ``ValueError`` for a name that is no token, a
    value with line breaks or other control characters, and a field that is the gateway's own business, such as
    ``Content-Length``, ``Connection`` or a request's ``Host``. Bytes of the wire that are not UTF-8 are lone
    surrogates.
    """

    __slots__ = ("_added", "_changed", "_dropped", "_frozen", "_head", "_hidden", "_names", "_received")

    def __init__(self, values: HeaderValues = ()) -> None:
        self._head: _Lines | None = None
        self._received: list[bytes] | None = []
        """The head's lines as on the wire: most are never looked at. None until somebody does."""
        self._dropped: set[bytes] = set()
        """What lines begin with, in lower case, that are received and not there any more."""
        self._added: list[bytes] = []
        """Lines behind those."""
        self._changed: set[bytes] = set()
        self._hidden: frozenset[bytes] = frozenset()
        self._names = _ALL_NAMES
        self._frozen = False
        for name, value in _pairs(values):
            self.add(name, value)

    @classmethod
    def _of_head(cls, head: _Lines, names: SettableNames, hidden: frozenset[bytes] = frozenset()) -> Headers:
        """The fields of *head*, without the names in *hidden*; *names* are those that may be changed."""
        headers = cls.__new__(cls)
        headers._head = head
        headers._received = None
        headers._dropped = set()
        headers._added = []
        headers._changed = set()
        headers._hidden = hidden
        headers._names = names
        headers._frozen = False
        return headers

    def __repr__(self) -> str:
        # Values may be credentials, and this ends in logs.
        return f"<Headers {', '.join(self)}>"

    # -- looking ------------------------------------------------------------------------------------------------------

    def __getitem__(self, name: str) -> str:
        """The first value of *name*; ``KeyError`` without one."""
        value = self._first(name)
        if value is None:
            raise KeyError(name)
        return value

    def get(self, name: str, default: Any = None) -> Any:
        """The first value of *name*; *default* without one."""
        value = self._first(name)
        return default if value is None else value

    def _first(self, name: str) -> str | None:
        key = _key(name)
        size = len(key)
        if key not in self._dropped and key[:-1] not in self._hidden:
            for line in self._lines():
                if line[:size].lower() == key:
                    return _decoded(line[size:])
        for line in self._added:
            if line[:size].lower() == key:
                return _decoded(line[size:])
        return None

    def __contains__(self, name: object) -> bool:
        """Tell whether there is a field of that name."""
        return isinstance(name, str) and self._first(name) is not None

    def __iter__(self) -> Iterator[str]:
        """Each name once, as it was first written."""
        names: dict[str, str] = {}
        for name, _ in self.fields():
            names.setdefault(name.lower(), name)
        return iter(names.values())

    def __len__(self) -> int:
        """How many names there are."""
        return sum(1 for _ in self)

    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        """Tell whether the same names have the same values, in the same order for each."""
        return self._by_name() == other._by_name() if isinstance(other, Headers) else NotImplemented

    def get_all(self, name: str) -> list[str]:
        """Every value of *name*, in order; empty without any."""
        key = _key(name)
        size = len(key)
        if key[:-1] in self._hidden:
            return []
        return [_decoded(line[size:]) for line in self._present() if line[:size].lower() == key]

    def fields(self) -> list[tuple[str, str]]:
        """Every name with its value, in order; a name comes as often as it has values."""
        split = (line.partition(b":") for line in self._present())
        return [(name.decode("ascii"), _decoded(value)) for name, _, value in split if name.lower() not in self._hidden]

    # -- changing -----------------------------------------------------------------------------------------------------

    def __setitem__(self, name: str, value: str) -> None:
        """Make *value* the only one of *name*."""
        key, line = self._checked(name), _line(name, value)
        self._drop(key)
        self._added.append(line)

    def __delitem__(self, name: str) -> None:
        """Remove every value of *name*; ``KeyError`` without any."""
        key = self._checked(name)
        if name not in self:
            raise KeyError(name)
        self._drop(key)

    def add(self, name: str, value: str) -> None:
        """Give *name* one more value."""
        key, line = self._checked(name), _line(name, value)
        self._changed.add(key[:-1])
        self._added.append(line)

    def _drop(self, key: bytes) -> None:
        self._changed.add(key[:-1])
        self._dropped.add(key)
        if self._added:
            size = len(key)
            self._added = [line for line in self._added if line[:size].lower() != key]

    def _checked(self, name: str) -> bytes:
        """The key of *name*, if that can be changed."""
        key = self._names.key(name)
        if self._frozen:
            raise ValueError(f"the request has gone on: its header {name} cannot be changed any more")
        return key

    # -- for the gateway ----------------------------------------------------------------------------------------------

    def _by_name(self) -> dict[str, list[str]]:
        values: dict[str, list[str]] = {}
        for name, value in self.fields():
            values.setdefault(name.lower(), []).append(value)
        return values

    def _lines(self) -> list[bytes]:
        """Those that were received, also where they were dropped since."""
        lines = self._received
        if lines is None:
            assert self._head is not None
            lines = self._received = self._head.lines
        return lines

    def _present(self) -> list[bytes]:
        lines = self._lines()
        if self._dropped:
            lines = [line for line in lines if line[: line.index(b":") + 1].lower() not in self._dropped]
        return lines + self._added

    def _changes(self) -> tuple[tuple[bytes, ...], bytes]:
        """The names, in lower case, whose fields have changed, and the lines that they have now, each with its CRLF."""
        changed = self._changed
        if not changed:
            return (), b""
        lines = self._added
        if len(changed) > len(self._dropped):  # of what was received, some is joined by what was added
            lines = [line for line in self._present() if line[: line.index(b":")].lower() in changed]
        return tuple(changed), b"".join([line + b"\r\n" for line in lines])

    def _encode(self) -> bytes:
        """All lines, each with its CRLF."""
        return b"".join([line + b"\r\n" for line in self._present()])


class _Lines(Protocol):
    """What has the field lines of a message."""

    @property
    def lines(self) -> list[bytes]: ...


class SettableNames:
    """The names of fields that may be set. Those that were checked are remembered, up to a bound."""

    __slots__ = ("_is_settable", "_keys")

    def __init__(self, is_settable: Callable[[str], bool]) -> None:
        self._is_settable = is_settable
        self._keys: dict[str, bytes] = {}

    def key(self, name: str) -> bytes:
        """What lines of the field *name* begin with, in lower case.

        Raises ``TypeError`` and ``ValueError`` for names that are none, or that nobody but the gateway may set.
        """
        if not isinstance(name, str):
            raise TypeError(f"the name of a header must be a str, not {type(name).__name__}")
        key = self._keys.get(name)
        if key is None:
            if _NAME.fullmatch(name) is None:
                raise ValueError(f"no name of a header: {name[:60]!r}")
            if not self._is_settable(name):
                raise ValueError(f"the header {name} is the gateway's own and cannot be changed")
            key = _key(name)
            if len(self._keys) < _MOST_REMEMBERED and len(name) <= _LONGEST_REMEMBERED:
                self._keys[name] = key
        return key


_ALL_NAMES: Final = SettableNames(lambda name: True)


def _pairs(values: HeaderValues) -> Iterable[tuple[str, str]]:
    if isinstance(values, Headers):
        return values.fields()
    return values.items() if isinstance(values, Mapping) else values


def _key(name: str) -> bytes:
    """What lines of the field *name* begin with, in lower case."""
    return name.lower().encode("utf-8", "replace") + b":"


def _decoded(value: bytes) -> str:
    return value.strip(b" \t").decode("utf-8", "surrogateescape")


def _line(name: str, value: str) -> bytes:
    """The line of a field. Raises ``TypeError`` and ``ValueError`` for values that are none."""
    if not isinstance(value, str):
        raise TypeError(f"the value of the header {name} must be a str, not {type(value).__name__}")
    if _CONTROL.search(value) is not None:
        raise ValueError(f"the value of the header {name} has line breaks or other control characters in it")
    try:
        return f"{name}: {value.strip(_BLANKS)}".encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise ValueError(f"the value of the header {name} is no text: it has half of a surrogate pair in it") from None
