"""Everything on one machine: a launcher that runs the control plane and the proxy as processes of their own.

They share nothing but the configuration file: staging is as real as with programs on two machines, and the death of
one leaves the other untouched.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from vrata.app.child import Child
from vrata.app.exit_code import EXIT_UNUSABLE
from vrata.app.stop_request import StopRequest
from vrata.config import Settings
from vrata.observability import logging, process
from vrata.observability.tasks import TaskSupervisor

_log = structlog.get_logger("vrata.serve")

PROXY_GRACE = 15.0
"""Seconds beyond its drain timeout that the proxy may take to end."""
CONTROL_PLANE_TIMEOUT = 15.0
"""Seconds that any other program may take to end."""


class StartError(Exception):
    """Something that the programs need is not there; the text says what."""


@dataclass(frozen=True, slots=True)
class Companion:
    """What a launcher may run beside the two programs: one more, and a task once everything has started."""

    name: str
    arguments: tuple[str, ...]
    """Command line of the program."""
    prepare: Callable[[], Awaitable[None]] = field(repr=False)
    """Raises :class:`StartError` if it fails, which stops everything."""


def run(settings: Settings, config_path: Path | None, companion: Companion | None = None) -> int:
    """Run control plane and proxy until asked to stop, and return the exit code.

    The programs read *config_path* themselves; None lets them find the default file as we did.
    """
    if settings.control_plane.address.port == 0:
        sys.stderr.write("vrata: controlPlane.address: the proxy cannot find a control plane on port 0\n")
        return EXIT_UNUSABLE
    process.set_name("vrata-serve")
    logging.configure(settings.log.format, settings.log.level)
    return asyncio.run(_Launcher(settings, config_path, companion).run())


class _Launcher:
    def __init__(self, settings: Settings, config_path: Path | None, companion: Companion | None) -> None:
        self._settings = settings
        self._companion = companion
        self._exit_code = 0
        # Held for as long as we live; its end is the signal for programs that we could not stop.
        self._lifeline, self._lifeline_held = os.pipe()
        config = () if config_path is None else ("--config", str(config_path))
        self._control_plane = self._child("control plane", "controlplane", *config)
        self._proxy = self._child("proxy", "proxy", "--local", *config)
        self._others = [] if companion is None else [self._child(companion.name, *companion.arguments)]

    async def run(self) -> int:
        tasks = TaskSupervisor()
        self._stop = StopRequest(
            on_insist=self._insist,
            on_hangup=lambda: self._proxy.send(signal.SIGHUP),
            on_rotation=lambda: self._proxy.send(signal.SIGUSR1),
        )
        for child in (self._control_plane, self._proxy, *self._others):
            tasks.start(child.keep_running(), name=f"run {child.name}")
        if self._companion is not None:
            tasks.start(self._prepare(self._companion), name="prepare companion")
        await self._stop.wait()
        # Traffic first: while requests finish, everything they may need is still there.
        await self._proxy.stop(self._settings.proxy.drain_timeout + PROXY_GRACE)
        await asyncio.gather(*(child.stop(CONTROL_PLANE_TIMEOUT) for child in (self._control_plane, *self._others)))
        await tasks.stop()
        return self._exit_code

    def _child(self, name: str, *arguments: str) -> Child:
        return Child(name, arguments, self._lifeline, self._on_unusable)

    async def _prepare(self, companion: Companion) -> None:
        try:
            await companion.prepare()
        except StartError as error:
            if not self._stop.is_made:
                sys.stderr.write(f"vrata: {error}\n")
                self._on_unusable()

    def _on_unusable(self) -> None:
        self._exit_code = EXIT_UNUSABLE
        self._stop.make()

    def _insist(self) -> None:
        for child in (self._proxy, self._control_plane, *self._others):
            child.send(signal.SIGTERM)
