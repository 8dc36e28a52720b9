"""The snapshot stream: reads the active snapshot from the control plane, for ever."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

import httpx
import structlog

from vrata.policy.backoff import doubled
from vrata.proxy.sync.link import ControlPlaneLink
from vrata.wire import sse

_log = structlog.get_logger("vrata.proxy")

EVENT = "snapshot"

SILENCE = 45.0
"""Seconds without a byte after which the link is dead: three keep-alives of the control plane were missed."""
FIRST_DELAY = 0.1
"""Seconds before the first reconnect, doubled up to the reconnect interval."""


class StreamRefused(Exception):  # noqa: N818 - an outcome, named as the log names it
    """The control plane answered with something that is no event stream."""


class SnapshotStream:
    """Connects, hands every snapshot to *on_snapshot*, and reconnects.

    The control plane sends the active snapshot at the beginning of each connection, so nothing that was activated in
    between is missed. *on_connected* is called whenever a stream begins.
    """

    def __init__(
        self,
        link: ControlPlaneLink,
        reconnect_interval: float,
        on_snapshot: Callable[[bytes], None],
        on_connected: Callable[[], None],
        *,
        silence: float = SILENCE,
    ) -> None:
        self._link = link
        self._reconnect_interval = reconnect_interval
        self._on_snapshot = on_snapshot
        self._on_connected = on_connected
        self._silence = silence
        self.is_connected = False
        self.connections = 0
        """Streams that have begun."""
        self._failures = 0
        self._last_reason = ""

    def __repr__(self) -> str:
        return f"<SnapshotStream {self._link.url}, {self._failures} failures>"

    async def run(self) -> None:
        """Read until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            try:
                await self._read()
                reason = "the control plane ended the stream"
            except httpx.ReadTimeout:
                reason = f"nothing received for {self._silence:g} s"
            except (httpx.HTTPError, httpx.InvalidURL, StreamRefused, OSError) as error:
                reason = str(error) or type(error).__name__
            except Exception as error:  # noqa: BLE001 - a proxy that stopped to listen could only be restarted
                _log.exception("reading snapshots failed")
                reason = str(error) or type(error).__name__
            self.is_connected = False
            # A stream that lasted is no sign of trouble; one that ends at once would have us reconnect in a tight loop.
            self._failures = 0 if loop.time() - began > self._reconnect_interval else self._failures + 1
            delay = self._delay()
            self._report(reason, delay)
            await asyncio.sleep(delay)

    async def _read(self) -> None:
        async with self._link.client(self._silence) as client:
            headers = {"Accept": sse.MEDIA_TYPE, "Accept-Encoding": "identity", "Cache-Control": "no-cache"}
            async with client.stream("GET", self._link.stream_url, headers=headers) as response:
                if response.status_code != httpx.codes.OK:
                    raise StreamRefused(f"the control plane answered {response.status_code} {response.reason_phrase}")
                media_type = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
                if media_type != sse.MEDIA_TYPE:
                    raise StreamRefused(f"the control plane answered with {media_type or 'no content type'}")
                _log.info("connected to the control plane", url=self._link.url)
                self._last_reason = ""
                self.is_connected = True
                self.connections += 1
                self._on_connected()
                parser = sse.EventStreamParser()
                async for chunk in response.aiter_raw():
                    for event in parser.feed(chunk):
                        if event.event == EVENT:
                            self._on_snapshot(event.data)

    def _delay(self) -> float:
        """Return the seconds to wait: growing to the reconnect interval, spread so that proxies do not come as one."""
        ceiling = doubled(FIRST_DELAY, self._reconnect_interval, self._failures)
        return ceiling * random.uniform(0.5, 1.5)

    def _report(self, reason: str, delay: float) -> None:
        # Once for each reason: an absent control plane must not fill the log.
        level = _log.debug if reason == self._last_reason else _log.warning
        level("no stream from the control plane", url=self._link.url, reason=reason, retry_in=round(delay, 2))
        self._last_reason = reason
