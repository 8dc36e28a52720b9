"""From host names to addresses, remembered for as long as their records say (:mod:`vrata.net.cached_name`).

One query per name is under way at a time, however many wait for it. A name in use is asked for again before its time is
up, so that nobody waits; one that is not used is forgotten.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

import structlog

from vrata.net.cached_name import Advice, Answers, CachedName, Failed, Family
from vrata.net.dns_client import DnsClient, NameServerAddress
from vrata.observability.tasks import TaskSupervisor

STALE_WAIT = 0.5
"""Seconds that somebody waits for new addresses when the old ones have expired and nothing is known to be wrong."""

_log = structlog.get_logger("vrata.net")

OnAddresses = Callable[[tuple[str, ...] | None], None]
"""Called with the addresses of a name, in order: empty when it is known to have none, None when nothing is known."""


class NameNotResolved(Exception):  # noqa: N818 - an outcome
    """The name has no addresses, or nobody could say; the text has the reason."""


class ResolvesNames(Protocol):
    """What a dial needs."""

    async def resolve(self, host: str) -> Sequence[str]:
        """The addresses of *host*, the one to try first in front. Raises :class:`NameNotResolved`."""
        ...


class _Entry:
    __slots__ = ("followers", "name", "query", "stale_timer", "timer", "turn", "used", "was_stale")

    def __init__(self) -> None:
        self.name = CachedName()
        self.query: asyncio.Task[None] | None = None
        self.timer: asyncio.TimerHandle | None = None
        self.stale_timer: asyncio.TimerHandle | None = None
        """Runs until addresses expire that could not be asked about."""
        self.used = False
        """Somebody has wanted it since the last query."""
        self.turn = -1
        """Counts those who wanted it: each begins with another address."""
        self.was_stale = False
        self.followers: dict[OnAddresses, None] = {}


class Resolver(ResolvesNames):
    """Lives as long as its process, on one event loop.

    *ask* is what asks about a name, and *chance* gives numbers from 0 to 1.
    """

    def __init__(
        self,
        tasks: TaskSupervisor,
        name_servers: Sequence[NameServerAddress] = (),
        *,
        ask: Callable[[str], Awaitable[Answers]] | None = None,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._tasks = tasks
        self._ask_about = ask if ask is not None else DnsClient(name_servers).ask
        self._chance = chance
        self._entries: dict[str, _Entry] = {}

    def __repr__(self) -> str:
        troubled = sum(entry.name.failures > 0 for entry in self._entries.values())
        return f"<Resolver {len(self._entries)} names, {troubled} in trouble>"

    async def resolve(self, host: str) -> Sequence[str]:
        """The addresses of *host*, all of one family before those of the other.

        Within a family everyone who asks begins with another one: connections spread over them.
        """
        host = host.lower()
        entry = self._entry(host)
        entry.used = True
        loop = asyncio.get_running_loop()
        match entry.name.advice(loop.time()):
            case Advice.ASK:
                await asyncio.wait([self._query(host, entry)])
            case Advice.ASK_BRIEFLY:
                await asyncio.wait([self._query(host, entry)], timeout=STALE_WAIT)
            case Advice.USE_AND_ASK:
                self._query(host, entry)
            case Advice.USE | Advice.REFUSE:
                pass
        found = entry.name.addresses(loop.time())
        if not found:
            raise NameNotResolved(entry.name.reason or "not resolved")
        entry.turn += 1
        addresses: list[str] = []
        for family in found.values():
            first = entry.turn % len(family)
            addresses += family[first:]
            addresses += family[:first]
        return addresses

    def follow(self, host: str, on_addresses: OnAddresses) -> None:
        """Ask about *host* for as long as somebody follows it, and call *on_addresses* after each query."""
        host = host.lower()
        entry = self._entry(host)
        entry.followers[on_addresses] = None
        if entry.query is None:
            if asyncio.get_running_loop().time() >= entry.name.valid_until:
                self._query(host, entry)
            else:
                asyncio.get_running_loop().call_soon(self._tell, entry, on_addresses)

    def unfollow(self, host: str, on_addresses: OnAddresses) -> None:
        """The reverse of :meth:`follow`."""
        entry = self._entries.get(host.lower())
        if entry is not None:
            entry.followers.pop(on_addresses, None)

    def trouble(self, host: str) -> str:
        """Why *host* could not be asked about the last time; empty when it could, or was not asked about."""
        entry = self._entries.get(host.lower())
        return entry.name.reason if entry is not None and entry.name.failures else ""

    def _entry(self, host: str) -> _Entry:
        entry = self._entries.get(host)
        if entry is None:
            entry = self._entries[host] = _Entry()
        return entry

    def _query(self, host: str, entry: _Entry) -> asyncio.Task[None]:
        """The query that is under way for *host*; a new one if there is none."""
        if entry.query is None:
            entry.query = self._tasks.start(self._learn(host, entry), name=f"resolve {host}")
            entry.query.add_done_callback(lambda query: self._queried(query, host, entry))
        return entry.query

    async def _learn(self, host: str, entry: _Entry) -> None:
        failures = entry.name.failures
        try:
            answers = await self._ask_about(host)
        except Exception as error:  # noqa: BLE001 - whoever waits must hear of it
            _log.exception("query failed unexpectedly", host=host)
            answers = dict.fromkeys((Family.V6, Family.V4), Failed(str(error)))
        entry.name.learn(answers, self._now(), self._chance())
        self._report(host, entry, failures)

    def _queried(self, query: asyncio.Task[None], host: str, entry: _Entry) -> None:
        entry.query = None
        entry.used = False
        for timer in (entry.timer, entry.stale_timer):
            if timer is not None:
                timer.cancel()
        entry.stale_timer = None
        if query.cancelled():
            return  # the process ends
        loop = asyncio.get_running_loop()
        entry.timer = loop.call_at(max(entry.name.refresh_at, loop.time()), self._is_due, host, entry)
        if entry.name.failures and loop.time() < entry.name.stale_at() < entry.name.forget_at():
            entry.stale_timer = loop.call_at(entry.name.stale_at(), self._has_expired, host, entry)
        for follower in list(entry.followers):
            self._tell(entry, follower)

    def _has_expired(self, host: str, entry: _Entry) -> None:
        """Addresses have expired between two queries, the last of which failed."""
        entry.stale_timer = None
        if entry.used or entry.followers:
            self._report_staleness(host, entry)

    def _is_due(self, host: str, entry: _Entry) -> None:
        entry.timer = None
        if entry.used or entry.followers:
            self._query(host, entry)
            return
        loop = asyncio.get_running_loop()
        if entry.query is not None:
            return
        if loop.time() < entry.name.forget_at():
            entry.timer = loop.call_at(entry.name.forget_at(), self._is_due, host, entry)
        elif self._entries.get(host) is entry:
            del self._entries[host]

    def _tell(self, entry: _Entry, follower: OnAddresses) -> None:
        if follower not in entry.followers:
            return
        now = self._now()
        found = entry.name.addresses(now)
        if found:
            follower(tuple(address for family in found.values() for address in family))
        else:
            follower(() if entry.name.is_known_missing(now) else None)

    def _report(self, host: str, entry: _Entry, failures: int) -> None:
        name = entry.name
        if name.failures and not failures:
            _log.warning("name server failed", host=host, reason=name.reason)
        self._report_staleness(host, entry)
        if failures and not name.failures:
            _log.info("name server answers again", host=host)

    def _report_staleness(self, host: str, entry: _Entry) -> None:
        name = entry.name
        is_stale = name.is_stale(self._now())
        if is_stale and not entry.was_stale:
            _log.warning("addresses are used beyond their time to live", host=host, reason=name.reason)
        if name.failures and entry.was_stale and not is_stale:
            _log.error("addresses are too old to be used any more", host=host, reason=name.reason)
        entry.was_stale = is_stale

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()
