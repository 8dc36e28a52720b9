"""Real ``vrata`` processes, started, watched and ended by a test.

Every process is ended by its own id. What it prints goes to a file, so that a full pipe can never stop it and a
failing test can show it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

from tests.support.conditions import eventually


class VrataProcess:
    """One ``python -m vrata <arguments>``; a context manager that leaves nothing running.

    ``output`` is the file with what it printed (stdout and stderr together).
    """

    def __init__(
        self,
        *arguments: str,
        directory: Path,
        environ: Mapping[str, str] | None = None,
        name: str = "",
        stdin: int = subprocess.DEVNULL,
    ) -> None:
        self.arguments = arguments
        self.directory = directory
        self.output = directory / f"{name or arguments[0]}.log"
        self._environ = {**os.environ, "PYTHONUNBUFFERED": "1", **(environ or {})}
        self._stdin = stdin
        self._process: subprocess.Popen[bytes] | None = None

    def __repr__(self) -> str:
        state = "not started" if self._process is None else f"pid {self._process.pid}"
        return f"<VrataProcess {' '.join(self.arguments)}: {state}>"

    def __enter__(self) -> VrataProcess:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._process is None:
            return
        children = self.descendants() if self.is_running else []
        if self.is_running:
            self.kill()
        for pid in children:
            _kill(pid)

    # life

    def start(self) -> VrataProcess:
        """Start it (again, after it ended); returns at once, usually before it is ready."""
        with self.output.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "vrata", *self.arguments],
                cwd=self.directory,
                env=self._environ,
                stdin=self._stdin,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return self

    def signal(self, number: signal.Signals) -> None:
        self._popen.send_signal(number)

    def terminate(self, timeout: float = 20.0) -> int:
        """Send SIGTERM and return the exit code."""
        self.signal(signal.SIGTERM)
        return self.wait(timeout)

    def kill(self) -> None:
        """End it with SIGKILL, and only it: its children are left to notice."""
        self.signal(signal.SIGKILL)
        self.wait()

    def wait(self, timeout: float = 20.0) -> int:
        """Wait for its end and return the exit code."""
        try:
            return self._popen.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self} still runs after {timeout} s; it said:\n{self.text()}") from None

    # observation

    @property
    def pid(self) -> int:
        return self._popen.pid

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def text(self) -> str:
        """Everything it has printed so far."""
        return self.output.read_text(errors="replace") if self.output.exists() else ""

    def wait_for_text(self, part: str, timeout: float = 20.0, *, times: int = 1) -> str:
        """Wait until it has printed *part* at least *times* times; returns everything printed."""
        eventually(
            lambda: self.text().count(part) >= times or self._fail_if_ended(part),
            timeout,
            what=f"{part!r} in the output of {self}, which is\n{self.text()}\n",
        )
        return self.text()

    def descendants(self, containing: str = "") -> list[int]:
        """Ids of its children and their children whose command line contains *containing*."""
        return [pid for pid in _descendants(self.pid) if containing in command_line(pid)]

    def _fail_if_ended(self, part: str) -> bool:
        if not self.is_running:
            code = self._popen.returncode
            raise RuntimeError(f"{self} ended with {code} before it printed {part!r}:\n{self.text()}")
        return False

    @property
    def _popen(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise RuntimeError(f"{self} was never started")
        return self._process


def command_line(pid: int) -> str:
    """The command line of process *pid*, arguments separated by spaces; empty if it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def process_name(pid: int) -> str:
    """The name that process *pid* has given itself; empty if it has ended."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def open_sockets(pid: int) -> int:
    """How many sockets process *pid* has open; 0 if it has ended."""
    found = 0
    with contextlib.suppress(OSError):
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                found += os.readlink(descriptor).startswith("socket:")
    return found


def is_alive(pid: int) -> bool:
    """Whether process *pid* exists and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _descendants(pid: int) -> list[int]:
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        parents.setdefault(parent, []).append(int(entry.name))
    found: list[int] = []
    waiting = [pid]
    while waiting:
        children = parents.get(waiting.pop(), [])
        found += children
        waiting += children
    return found


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
