"""The acknowledgement: tells the control plane what became of its snapshots, and that this proxy lives."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import perf_counter

import httpx
import structlog

from vrata.proxy.status import ProxyStatus
from vrata.proxy.sync.link import ControlPlaneLink

_log = structlog.get_logger("vrata.proxy")

INTERVAL = 10.0
"""Seconds between two acknowledgements when nothing changes."""
TIMEOUT = 5.0
"""Seconds the control plane may take to answer one."""
REST, MAX_REST = 4.0, 1.0
"""How many times as long as an acknowledgement took the next one waits at least, and the longest such wait in seconds.
Endpoints that change all the time would otherwise keep both sides busy with them."""


class Acknowledger:
    """Puts the proxy's status whenever *changed* is set, and each *interval* seconds.

    Several changes at once make one acknowledgement, also those that come while one is made, and shortly after. A
    failure is left to the next one.
    """

    def __init__(
        self,
        link: ControlPlaneLink,
        status: Callable[[], ProxyStatus],
        changed: asyncio.Event,
        *,
        interval: float = INTERVAL,
    ) -> None:
        self._link = link
        self._status = status
        self._interval = interval
        self._changed = changed
        self._is_failing = False

    def __repr__(self) -> str:
        return f"<Acknowledger {self._link.acknowledgement_url}{', failing' if self._is_failing else ''}>"

    async def run(self) -> None:
        """Acknowledge until cancelled."""
        while True:
            try:
                async with self._link.client(TIMEOUT) as client:
                    await self._acknowledge_with(client)
            except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
                if not self._is_failing:
                    _log.info("the control plane takes no acknowledgement", reason=str(error) or type(error).__name__)
                self._is_failing = True
            except Exception:  # noqa: BLE001 - a proxy that fell silent would count as gone
                _log.exception("acknowledging failed")
            # A new client after a failure reads renewed certificates.
            await self._wait()

    async def _acknowledge_with(self, client: httpx.AsyncClient) -> None:
        """Acknowledge until it fails."""
        while True:
            began = perf_counter()
            response = await client.put(self._link.acknowledgement_url, json=self._status().document())
            response.raise_for_status()
            self._is_failing = False
            rest = min(REST * (perf_counter() - began), MAX_REST)
            await asyncio.sleep(rest)
            await self._wait()

    async def _wait(self) -> None:
        try:
            async with asyncio.timeout(self._interval):
                await self._changed.wait()
        except TimeoutError:
            pass
        self._changed.clear()
