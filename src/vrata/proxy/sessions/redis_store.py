"""Sessions in Redis."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from vrata.observability.tasks import TaskSupervisor
from vrata.proxy.redis.client import RedisClient
from vrata.proxy.redis.settings import RedisSettings
from vrata.proxy.sessions.store import Answer, Call, SessionStore

_PROBE: Final = (b"GET", b"vrata:sticky:")
"""No session has this key."""


class RedisSessionStore(SessionStore):
    """One per worker, on a running loop. Connects when it is first needed, and for ever again."""

    def __init__(self, settings: RedisSettings, tasks: TaskSupervisor, random: Callable[[], float]) -> None:
        """*random* gives numbers in [0, 1) and spreads the attempts of many proxies to reach a Redis that is out."""
        self._client = RedisClient("session store", settings, tasks, random, _PROBE)

    def __repr__(self) -> str:
        return f"<RedisSessionStore {self._client!r}>"

    @property
    def is_out(self) -> bool:
        """Whether no call is answered at present."""
        return self._client.is_out

    def open(self) -> None:
        """Connect, if nobody has asked for that before."""
        self._client.open()

    def look_up(self, key: bytes, answer: Answer) -> Call:
        """GET."""
        return self._client.call((("GET", key),), answer)

    def claim(self, key: bytes, value: bytes, ttl: int, answer: Answer) -> Call:
        """SET with NX and EX, and GET: the first one to come wins, and everybody learns who that was."""
        # One command could do both, but only with Redis 7 and later.
        return self._client.call((("SET", key, value, "EX", ttl, "NX"), ("GET", key)), answer)

    def put(self, key: bytes, value: bytes, ttl: int) -> None:
        """SET with EX."""
        self._client.call((("SET", key, value, "EX", ttl),), None)
