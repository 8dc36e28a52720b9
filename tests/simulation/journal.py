"""What has happened in a run, line by line: its transcript."""

from __future__ import annotations

from vrata.net.virtual_time import START, VirtualTimeLoop


class Journal:
    def __init__(self, loop: VirtualTimeLoop) -> None:
        self._loop = loop
        self._lines: list[tuple[float, str]] = []

    @property
    def now(self) -> float:
        """Seconds since the run began."""
        return self._loop.time() - START

    def note(self, text: str) -> None:
        self._lines.append((self._loop.time(), text))

    def text(self) -> str:
        return "".join(f"{at - START:9.4f}  {text}\n" for at, text in self._lines)
