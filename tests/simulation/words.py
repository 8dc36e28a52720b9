"""The words of circuit breakers: the referee sees each change, at the moment at which it is made."""

from __future__ import annotations

from typing import Any, Protocol

from vrata.proxy.runtime.shared_counts import SharedCounts

PREFIX = "breaker "


class Observer(Protocol):
    def breaker_is(self, destination_id: str, word: int) -> None: ...
    def breaker_moved(self, destination_id: str, before: int, after: int) -> None: ...


class ObservedWord:
    """Stands before the word of one breaker, in one worker."""

    def __init__(self, word: Any, destination_id: str, observer: Observer) -> None:
        self._word = word
        self._destination_id = destination_id
        self._observer = observer
        observer.breaker_is(destination_id, word.value)

    @property
    def value(self) -> int:
        value: int = self._word.value
        return value

    def swap(self, expected: int, new: int) -> bool:
        swapped: bool = self._word.swap(expected, new)
        if swapped:
            self._observer.breaker_moved(self._destination_id, expected, new)
        return swapped

    def leave(self) -> None:
        self._word.leave()


def observe_words(counts: SharedCounts, observer: Observer) -> None:
    """Let *observer* see every change of a breaker that *counts* is asked for from now on."""
    word = counts.word

    def observed(name: str) -> Any:
        found = word(name)
        return ObservedWord(found, name.removeprefix(PREFIX), observer) if name.startswith(PREFIX) else found

    counts.word = observed  # type: ignore[method-assign]
