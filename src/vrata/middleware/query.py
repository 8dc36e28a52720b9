"""The parameters of a query."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from urllib.parse import parse_qsl


class Query(Mapping[str, str]):
    """The parameters of a request's query, decoded; names are told apart by case.

    As a mapping it has the first value of each name; :meth:`get_all` has all of them. *text* is what follows the ``?``
    of a target. What is not UTF-8 becomes U+FFFD.
    """

    __slots__ = ("_values", "text")

    def __init__(self, text: str = "") -> None:
        self.text = text
        """As it came, not decoded."""
        self._values: dict[str, list[str]] = {}
        if text:
            for name, value in parse_qsl(text, keep_blank_values=True, errors="replace"):
                self._values.setdefault(name, []).append(value)

    def __repr__(self) -> str:
        return f"<Query {', '.join(self)}>"

    def __getitem__(self, name: str) -> str:
        """The first value of *name*; ``KeyError`` without one."""
        return self._values[name][0]

    def __iter__(self) -> Iterator[str]:
        """Each name once."""
        return iter(self._values)

    def __len__(self) -> int:
        """How many names there are."""
        return len(self._values)

    def get_all(self, name: str) -> list[str]:
        """Every value of *name*, in order; empty without any."""
        return list(self._values.get(name, ()))
