"""Those who ask for a connection to an endpoint, and the dials that they are waiting for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from vrata.net.dial import DialError
from vrata.proxy.contracts import UpstreamTimeouts
from vrata.proxy.upstream.carrier import Carrier

_log = structlog.get_logger("vrata.proxy.upstream")


class TooManyWaiting(Exception):  # noqa: N818 - an outcome
    """As many requests wait for a connection as may; ``args[0]`` says how many."""


class Waiting:
    """One who waits for a connection, or for a stream of one.

    Several are told of the same connection or failure, so a fault of one must not reach those who tell them.
    """

    __slots__ = (
        "_connected",
        "_failed",
        "dial",
        "is_counted",
        "is_over",
        "is_tunnel",
        "number",
        "since",
        "timeouts",
        "tries",
    )

    def __init__(
        self,
        timeouts: UpstreamTimeouts,
        connected: Callable[[Carrier], bool],
        failed: Callable[[DialError | TooManyWaiting], None],
        is_tunnel: bool = False,
    ) -> None:
        """*connected* is given the carrier, and says whether it wants it."""
        self.timeouts = timeouts
        self._connected = connected
        self._failed = failed
        self.is_tunnel = is_tunnel
        """What is asked for has to carry an upgrade to WebSocket."""
        self.dial: Dial | None = None
        """The dial that is hoped to serve it; None while it stands in a line."""
        self.is_over = False
        """It wants no connection any more."""
        self.tries = 0
        """Connections that came about in vain."""
        # In a line.
        self.since = 0
        """Milliseconds of the loop's clock."""
        self.number = 0
        """Who comes later has a higher one."""
        self.is_counted = False
        """It counts among the pending requests of the destination."""

    def connected(self, carrier: Carrier) -> bool:
        """Give it *carrier*; false when it does not want it."""
        try:
            return self._connected(carrier)
        except Exception:  # noqa: BLE001 - see the class
            _log.exception("request failed on its connection", carrier=repr(carrier))
            carrier.close()
            return True

    def failed(self, error: DialError | TooManyWaiting) -> None:
        """There is none for it."""
        try:
            self._failed(error)
        except Exception:  # noqa: BLE001 - see the class
            _log.exception("request failed without a connection", error=repr(error))


class Dial:
    """A connection that is being opened, and those who hope for it, in their order."""

    __slots__ = ("hopeful", "is_alone", "task", "timeouts")

    def __init__(self, timeouts: UpstreamTimeouts, is_alone: bool) -> None:
        self.timeouts = timeouts
        self.is_alone = is_alone
        """It is for HTTP/1 whatever the endpoint speaks else, and for one exchange."""
        self.hopeful: dict[Waiting, None] = {}
        self.task: asyncio.Task[None] | None = None
