"""A Redis server: one connection for one purpose of a worker, one task, and calls that share round trips.

Calls that come while a round trip is under way go with the next one, together. None takes longer than :data:`LIMIT`: a
Redis that is not there, or does not answer, is *out* from then on, and calls get no answer at once until it has shown
by itself that it is back. What was under way when a connection broke is asked again on the next one, which is
harmless: every call may be repeated.

A *script* is sent whole only where Redis does not know it yet (``NOSCRIPT``), else by its digest.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Any, TypeAlias

import structlog
from redis.asyncio.connection import Connection
from redis.exceptions import NoScriptError, ResponseError

from vrata.model.host import host_and_port
from vrata.observability.tasks import TaskSupervisor
from vrata.policy.backoff import doubled
from vrata.proxy.redis.settings import RedisSettings

LIMIT = 0.1
"""Seconds from a call to its answer, connecting and all."""
MAX_WAITING = 10_000
"""Calls that wait for a round trip; those beyond get no answer."""
MAX_BATCH = 256
"""Calls that share a round trip."""
FIRST_PAUSE, LONGEST_PAUSE = 0.05, 2.0
"""Seconds between two attempts to reach a Redis that is out."""
LOG_INTERVAL = 10.0
"""Seconds between two lines in the log about refused commands."""
_LATE = 0.02
"""Seconds by which a limit may be noticed late before it is us who were held up, and not Redis."""

_log = structlog.get_logger("vrata.proxy.redis")

Command = tuple[bytes | str | int, ...]
Answer: TypeAlias = Callable[[bytes | None], None]
"""Gets the value, empty when there is none; None when Redis does not say."""


class Script:
    """A program in Lua that Redis runs as one step."""

    __slots__ = ("digest", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self.digest = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()

    def __repr__(self) -> str:
        return f"<Script {self.digest[:8]}>"


class Call:
    """One call, from the queue to its answer."""

    __slots__ = ("_answer", "commands", "deadline", "otherwise")

    def __init__(
        self,
        commands: tuple[Command, ...],
        deadline: float,
        answer: Answer | None,
        otherwise: tuple[Command, ...] | None = None,
    ) -> None:
        self.commands = commands
        """The reply to the last one is the answer."""
        self.otherwise = otherwise
        """What to say where Redis does not know the script."""
        self.deadline = deadline
        self._answer = answer

    def cancel(self) -> None:
        """Nobody wants the answer any more."""
        self._answer = None

    def end(self, value: bytes | None) -> None:
        """Give the answer."""
        answer, self._answer = self._answer, None
        if answer is not None:
            try:
                answer(value)
            except Exception:  # noqa: BLE001 - the other calls wait for their answers as well
                _log.exception("a request could not go on with what Redis said")


class _Limit:
    """``async with``: raises TimeoutError in its block at a time of the loop's clock, if it is not late by itself.

    Where this process was held up, the answer may have come long ago: it gets the time to be read.
    """

    __slots__ = ("_due", "_loop", "_timeout", "_timer")

    def __init__(self, loop: asyncio.AbstractEventLoop, due: float) -> None:
        self._loop = loop
        self._due = due
        self._timeout = asyncio.timeout(None)
        self._timer: asyncio.TimerHandle | None = None

    async def __aenter__(self) -> None:
        await self._timeout.__aenter__()
        self._timer = self._loop.call_at(self._due, self._pass)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()
        await self._timeout.__aexit__(kind, error, trace)

    def _pass(self) -> None:
        now = self._loop.time()
        if now - self._due > _LATE:
            self._due = now + _LATE
            self._timer = self._loop.call_at(self._due, self._pass)
        else:
            self._timeout.reschedule(now)


class RedisClient:
    """On a running loop. Connects when it is first needed, and for ever again."""

    def __init__(
        self, purpose: str, settings: RedisSettings, tasks: TaskSupervisor, random: Callable[[], float], probe: Command
    ) -> None:
        """*purpose* is what the log calls it.

        *random* gives numbers in [0, 1) and spreads the attempts of many proxies to reach a Redis that is out. *probe*
        shows that Redis does what is asked of it, with no more rights than that takes.
        """
        self._purpose = purpose
        self._probe = probe
        self._settings = settings
        self._tasks = tasks
        self._random = random
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[Call] = deque()
        self._wanted = asyncio.Event()
        self._is_open = False
        self._is_out = False
        self._warned = False
        self._logged = -LOG_INTERVAL

    def __repr__(self) -> str:
        state = "out" if self._is_out else "in use" if self._is_open else "not asked yet"
        return f"<RedisClient {self._purpose} {self._address} {state}>"

    @property
    def is_out(self) -> bool:
        """Whether no call is answered at present."""
        return self._is_out

    # -- calls --------------------------------------------------------------------------------------------------------

    def open(self) -> None:
        """Connect, if nobody has asked for that before."""
        if not self._is_open:
            self._is_open = True
            self._tasks.start(self._keep_connected(), name=self._purpose)

    def call(
        self, commands: tuple[Command, ...], answer: Answer | None, otherwise: tuple[Command, ...] | None = None
    ) -> Call:
        """Have *answer* called with the reply to the last of *commands*, after this has returned.

        *otherwise* is said instead where Redis does not know the script that they name.
        """
        call = Call(commands, self._loop.time() + LIMIT, answer, otherwise)
        if self._is_out:
            self._loop.call_soon(call.end, None)
        elif len(self._waiting) >= MAX_WAITING:
            self._refused("too many calls are waiting")
            self._loop.call_soon(call.end, None)
        else:
            self.open()
            self._waiting.append(call)
            self._wanted.set()
        return call

    def run(self, script: Script, keys: tuple[bytes, ...], values: tuple[bytes | int, ...], answer: Answer) -> Call:
        """Run *script* with these keys and values, and have *answer* called with the text that it returns."""
        rest = (len(keys), *keys, *values)
        return self.call((("EVALSHA", script.digest, *rest),), answer, (("EVAL", script.text, *rest),))

    # -- the connection -----------------------------------------------------------------------------------------------

    async def _keep_connected(self) -> None:
        """Connect, carry out calls, and begin again when the connection breaks."""
        failures = 0
        try:
            while True:
                settings = self._settings
                # The limits are ours: redis-py's own would begin anew with every reply.
                connection = Connection(
                    host=settings.host,
                    port=settings.port,
                    db=settings.db,
                    password=settings.password,
                    protocol=2,
                    socket_timeout=None,
                    socket_connect_timeout=None,
                )
                try:
                    await self._connect(connection)
                    failures = 0
                    while True:
                        await self._round_trip(connection)
                except Exception as error:  # noqa: BLE001 - whatever it is, it must not be the end of all calls
                    # The first attempt after one that worked is made at once. Calls wait for it, unless Redis hangs.
                    if failures or isinstance(error, TimeoutError):
                        self._go_out()
                    if failures:
                        self._warn(error)
                        pause = doubled(FIRST_PAUSE, LONGEST_PAUSE, failures - 1)
                        await asyncio.sleep(pause * (0.5 + self._random() / 2))
                    failures += 1
                finally:
                    await connection.disconnect(nowait=True)
        finally:
            self._go_out()

    async def _connect(self, connection: Connection) -> None:
        async with _Limit(self._loop, self._due()):
            await connection.connect()  # type: ignore[no-untyped-call]
            await connection.send_packed_command(connection.pack_command(*self._probe), check_health=False)
            await connection.read_response(disable_decoding=True)
        self._is_out = False
        if self._warned:
            self._warned = False
            _log.info(f"{self._purpose} is back", address=self._address)

    async def _round_trip(self, connection: Connection) -> None:
        """Wait for calls and carry out those that are there."""
        waiting = self._waiting
        while not waiting:
            self._wanted.clear()
            await self._wanted.wait()
        batch = [waiting.popleft() for _ in range(min(len(waiting), MAX_BATCH))]
        try:
            async with _Limit(self._loop, batch[0].deadline):
                commands = [command for call in batch for command in call.commands]
                await connection.send_packed_command(connection.pack_commands(commands), check_health=False)
                replies = [await self._reply(connection) for _ in commands]
        except BaseException:
            waiting.extendleft(reversed(batch))
            raise
        at = 0
        for call in batch:
            at += len(call.commands)
            self._end(call, replies[at - len(call.commands) : at])

    @staticmethod
    async def _reply(connection: Connection) -> Any:
        try:
            return await connection.read_response(disable_decoding=True)
        except ResponseError as refusal:
            return refusal

    def _end(self, call: Call, replies: list[Any]) -> None:
        if call.otherwise is not None and isinstance(replies[-1], NoScriptError):
            call.commands, call.otherwise = call.otherwise, None
            self._waiting.appendleft(call)
            return
        for reply in replies:
            if isinstance(reply, ResponseError):
                self._refused(str(reply))
        value = replies[-1]
        if value is None:
            value = b""
        call.end(value if isinstance(value, bytes) else None)

    def _due(self) -> float:
        """When an attempt to connect has to have succeeded."""
        due = self._loop.time() + LIMIT
        return min(due, self._waiting[0].deadline) if self._waiting else due

    # -- when it is not there -----------------------------------------------------------------------------------------

    def _go_out(self) -> None:
        """No answers from now on; whoever waits for one does so no longer."""
        self._is_out = True
        while self._waiting:
            self._waiting.popleft().end(None)

    def _warn(self, error: Exception) -> None:
        if not self._warned:
            self._warned = True
            reason = f"no answer within {LIMIT} s" if isinstance(error, TimeoutError) else str(error)
            _log.warning(f"{self._purpose} cannot be used", address=self._address, reason=reason)

    def _refused(self, reason: str) -> None:
        now = self._loop.time()
        if now - self._logged >= LOG_INTERVAL:
            self._logged = now
            _log.warning(f"{self._purpose} has refused", address=self._address, reason=reason)

    @property
    def _address(self) -> str:
        return host_and_port(self._settings.host, self._settings.port)
