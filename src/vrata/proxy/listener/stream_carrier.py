"""What a stream of HTTP/2 needs of the client's connection that it is on."""

from __future__ import annotations

from typing import Protocol


class StreamCarrier(Protocol):
    """Implemented by the connection; streams are known by their number."""

    def time(self) -> float:
        """The loop's."""
        ...

    def due(self, deadline: float) -> None:
        """A stream has a limit at *deadline*."""
        ...

    def touched(self) -> None:
        """There may be something to send."""
        ...

    def holds_up(self) -> bool:
        """The client takes nothing of what is sent on the connection."""
        ...

    def stalled(self, stream: int) -> None:
        """More waits to be sent than should: when what can be sent is, the stream's client has to take some of it."""
        ...

    def answered(self, stream: int) -> None:
        """The response is complete, or there will be none; what is left of it is on its way."""
        ...
