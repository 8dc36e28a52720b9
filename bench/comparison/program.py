"""Programs: child processes on a core, in the foreground, with what they print in a file."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.comparison.cores import running_on
from tests.support.conditions import accepts, eventually

SEARCH_PATH = os.environ.get("PATH", os.defpath) + ":/usr/local/sbin:/usr/sbin:/sbin"
"""Debian puts servers into directories that are not on everybody's PATH."""


class UnavailableError(Exception):
    """A proxy cannot take part, or not in this workload; the text says why."""


def find(command: str) -> str:
    """The path of an installed *command*. Raises :class:`UnavailableError`."""
    found = shutil.which(command, path=SEARCH_PATH)
    if found is None:
        raise UnavailableError(f"{command} is not installed")
    return found


def output_of(*arguments: str) -> str:
    """What a command prints, stdout and stderr; at most 20 seconds."""
    done = subprocess.run(
        arguments,
        check=False,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=20,
    )
    return done.stdout


class Program:
    """A server on *core*, from :meth:`start` to :meth:`stop`. Its *name* names the file with its output."""

    def __init__(
        self,
        name: str,
        arguments: Sequence[str],
        directory: Path,
        core: int,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self.output = directory / f"{name}.log"
        self._arguments = list(arguments)
        self._directory = directory
        self._core = core
        self._environ = {**os.environ, **(environ or {})}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        if self._process is None:
            raise RuntimeError(f"{self.name} was never started")
        return self._process.pid

    def start(self, port: int) -> None:
        """Start it and return when *port* accepts connections.

        Raises :class:`UnavailableError` when it ends instead, and ``AssertionError`` when it does neither in time.
        """
        with self.output.open("ab") as output, running_on(self._core):
            # A session of its own: Ctrl-C reaches only the bench, which then ends everything in order, and what a
            # killed master leaves behind can be ended by the id of the group.
            self._process = subprocess.Popen(
                self._arguments,
                cwd=self._directory,
                env=self._environ,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        eventually(lambda: self._accepts_or_ended(port), 20, what=f"{self.name} accepts connections")

    def _accepts_or_ended(self, port: int) -> bool:
        if self._process is not None and self._process.poll() is not None:
            said = self.output.read_text(errors="replace")[-2000:]
            raise UnavailableError(f"{self.name} ended with code {self._process.returncode}; it said:\n{said}")
        return accepts(port)

    def stop(self) -> None:
        """End it and whatever it started. Does nothing when it does not run."""
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(5)
