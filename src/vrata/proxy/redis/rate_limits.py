"""Token buckets in Redis, which all proxies that use it share.

A bucket is what :mod:`vrata.policy.token_bucket` says, by the clock of Redis; under its key is the moment at which it
is full again, and the key goes at that moment. Redis takes a token in one step, so no two proxies take the same.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from typing import Final, TypeAlias

from vrata.observability.tasks import TaskSupervisor
from vrata.policy.token_bucket import TokenBucket
from vrata.proxy.redis.client import Call, RedisClient, Script
from vrata.proxy.redis.settings import RedisSettings

_BEGINNING: Final = b"vrata:ratelimit:"
_NUMBERS: Final = re.compile(rb"([01]) (\d{1,18}) (\d{1,18})")
_PROBE: Final = (b"GET", _BEGINNING)
"""No bucket has this key."""

TAKE: Final = Script("""\
local interval_us, interval_ns = tonumber(ARGV[1]), tonumber(ARGV[2])
local capacity_us, capacity_ns = tonumber(ARGV[3]), tonumber(ARGV[4])
local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000000 + tonumber(clock[2])
local us, ns = 0, 0
local found = redis.call('GET', KEYS[1])
if found then
  local moment, rest = string.match(found, '^(%d+) (%d+)$')
  us, ns = tonumber(moment) - now, tonumber(rest)
  if us < 0 then
    us, ns = 0, 0
  elseif us > capacity_us or (us == capacity_us and ns > capacity_ns) then
    us, ns = capacity_us, capacity_ns
  end
end
local after_us, after_ns = us + interval_us, ns + interval_ns
if after_ns >= 1000 then
  after_us, after_ns = after_us + 1, after_ns - 1000
end
if after_us > capacity_us or (after_us == capacity_us and after_ns > capacity_ns) then
  return string.format('0 %.0f %.0f', us, ns)
end
redis.call('SET', KEYS[1], string.format('%.0f %.0f', now + after_us, after_ns),
           'PX', string.format('%.0f', math.floor(after_us / 1000) + 1))
return string.format('1 %.0f %.0f', after_us, after_ns)
""")
"""Takes a token; says whether there was one, and microseconds and nanoseconds until the bucket is full.

A double of Lua holds microseconds since 1970 exactly, but no nanoseconds, so those go apart. Where the clock was set
back the moment may be further away than a whole bucket takes to fill: nobody waits for longer than that.
"""

Answer: TypeAlias = Callable[[int | None], None]
"""Gets the nanoseconds until the bucket is full again, negative if there was no token; None: Redis does not say."""


class RedisRateLimits:
    """One per worker, on a running loop. Connects when it is first needed, and for ever again."""

    def __init__(self, settings: RedisSettings, tasks: TaskSupervisor, random: Callable[[], float]) -> None:
        """*random* gives numbers in [0, 1) and spreads the attempts of many proxies to reach a Redis that is out."""
        self._client = RedisClient("rate limit store", settings, tasks, random, _PROBE)

    def __repr__(self) -> str:
        return f"<RedisRateLimits {self._client!r}>"

    @property
    def is_out(self) -> bool:
        """Whether it would be of no use to ask: no call is answered at present."""
        return self._client.is_out

    def limit(self, name: str, bucket: TokenBucket) -> RedisLimit:
        """The limit called *name*, the same one for every proxy: a bucket like that for each value."""
        self._client.open()
        return RedisLimit(self._client, name, bucket)


class RedisLimit:
    """The buckets of one limit."""

    __slots__ = ("_client", "_numbers", "_scope", "bucket")

    def __init__(self, client: RedisClient, name: str, bucket: TokenBucket) -> None:
        self._client = client
        # Names and values may be long, and values secret: neither is kept.
        self._scope = hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=32).digest()
        self._numbers = (*divmod(bucket.interval, 1000), *divmod(bucket.capacity, 1000))
        self.bucket = bucket
        """What all of them are like."""

    def __repr__(self) -> str:
        return f"<RedisLimit {self.bucket!r}>"

    @property
    def is_out(self) -> bool:
        """Whether it would be of no use to ask."""
        return self._client.is_out

    def take(self, value: bytes, answer: Answer) -> Call:
        """Take a token of the bucket for *value*; *answer* is called later, within a tenth of a second."""
        digest = hashlib.blake2b(value, key=self._scope, digest_size=16).hexdigest().encode()
        return self._client.run(TAKE, (_BEGINNING + digest,), self._numbers, _Reading(answer).read)


class _Reading:
    """What the script says, in a number."""

    __slots__ = ("_answer",)

    def __init__(self, answer: Answer) -> None:
        self._answer = answer

    def read(self, text: bytes | None) -> None:
        numbers = _NUMBERS.fullmatch(text) if text else None
        if numbers is None:
            self._answer(None)
            return
        taken, microseconds, nanoseconds = map(int, numbers.groups())
        missing = microseconds * 1000 + nanoseconds
        self._answer(missing if taken else -missing)
