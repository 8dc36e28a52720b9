"""Whether the upstream of a connection of HTTP/2 is there: how long it has said nothing, and when it is asked.

Times are seconds of the loop's clock.
"""

from __future__ import annotations

PING_AFTER = 30.0
"""Seconds without a byte from the upstream, while streams are open, after which it is asked whether it is there."""

PING_AGAIN = 310.0
"""The same when the last that came is the answer to a ping. A server of gRPC takes several pings with nothing of its
own between them for abuse, unless they come five minutes apart."""

PING_LIMIT = 10.0
"""Seconds that it has for the answer."""


class Silence:
    """That of one connection, since there are streams."""

    def __init__(self) -> None:
        self.heard = 0.0
        """When something came last."""
        self._asked = 0.0
        """When it was asked whether it is there; 0 when it has not been since."""
        self._answered = 0.0
        """When it has answered that."""

    def __repr__(self) -> str:
        return f"<Silence since {self.heard}>"

    def begin(self, now: float) -> float:
        """The first stream begins. Returns when to look."""
        self.heard = now
        self._asked = 0.0
        return now + PING_AFTER

    def answered(self) -> None:
        """What came last is the answer to a ping."""
        self._answered = self.heard

    @property
    def is_for_ever(self) -> bool:
        """Nothing has come since it was asked, when it is time to look."""
        return self.heard < self._asked

    @property
    def verdict(self) -> str:
        """What is said of it then."""
        return f"no answer to a ping within {PING_LIMIT:g} s"

    def ends(self, now: float) -> float:
        """When to look again; 0 if it is to be asked now."""
        patience = PING_AGAIN if self._answered == self.heard else PING_AFTER
        if now - self.heard >= patience:
            return 0.0
        self._asked = 0.0
        return self.heard + patience

    def asked(self, now: float) -> float:
        """It is asked now. Returns when to look."""
        self._asked = now
        return now + PING_LIMIT
