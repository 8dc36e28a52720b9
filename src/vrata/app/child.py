"""A program of Vrata that the launcher runs, and runs again when it ends."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence

import structlog

from vrata.app.exit_code import EXIT_UNUSABLE
from vrata.app.stop_request import LIFELINE
from vrata.policy.restart import RestartPace

_log = structlog.get_logger("vrata.serve")


LONG_LIFE, FIRST_DELAY, MAX_DELAY = 10.0, 0.5, 30.0
"""The pace at which a program that keeps ending is started again, in seconds."""


class Child:
    """Keeps one ``vrata <arguments>`` running, in a session of its own, tied to us by *lifeline*.

    *on_unusable* is called instead of a restart if it cannot start at all; it has said why on standard error.
    """

    def __init__(self, name: str, arguments: Sequence[str], lifeline: int, on_unusable: Callable[[], None]) -> None:
        self.name = name
        self._arguments = tuple(arguments)
        self._lifeline = lifeline
        self._on_unusable = on_unusable
        self._process: asyncio.subprocess.Process | None = None
        self._stopping = asyncio.Event()
        self._pace = RestartPace(LONG_LIFE, FIRST_DELAY, MAX_DELAY)

    def __repr__(self) -> str:
        return f"<Child {self.name} pid={self._process.pid if self._process is not None else None}>"

    async def keep_running(self) -> None:
        """Run it until :meth:`stop`."""
        loop = asyncio.get_running_loop()
        is_first = True
        while not self._stopping.is_set():
            began = loop.time()
            try:
                self._process = process = await self._start()
            except OSError as error:
                # Out of processes, memory or descriptors: others may give some back.
                delay = self._pace.delay_after(0.0)
                _log.error("program cannot be started", program=self.name, reason=str(error), restart_in=delay)
                await asyncio.sleep(delay)
                continue
            if self._stopping.is_set():
                self.send(signal.SIGTERM)  # it was not there yet when everybody was told
            code = await process.wait()
            if self._stopping.is_set():
                return
            if is_first and code == EXIT_UNUSABLE:
                self._on_unusable()
                return
            is_first = False
            delay = self._pace.delay_after(loop.time() - began)
            _log.error("program ended unexpectedly", program=self.name, exit_code=code, restart_in=delay)
            await asyncio.sleep(delay)

    def send(self, number: signal.Signals) -> None:
        """Send it a signal, if it runs."""
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)

    async def stop(self, timeout: float) -> None:
        """End it in order; by force if it has not ended after *timeout* seconds."""
        self._stopping.set()
        if self._process is None:
            return
        self.send(signal.SIGTERM)
        try:
            async with asyncio.timeout(timeout):
                await self._process.wait()
        except TimeoutError:
            _log.error("program does not end: killing it", program=self.name)
            self.send(signal.SIGKILL)
            await self._process.wait()

    async def _start(self) -> asyncio.subprocess.Process:
        # -P: modules that happen to lie in the working directory are none of ours.
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",
            "-m",
            "vrata",
            *self._arguments,
            env={**os.environ, LIFELINE: str(self._lifeline)},
            stdin=subprocess.DEVNULL,
            pass_fds=(self._lifeline,),
            start_new_session=True,
        )
