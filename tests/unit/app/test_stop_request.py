"""Requests to stop: signals and the lifeline."""

from __future__ import annotations

import asyncio
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.conditions import eventually_async
from vrata.app.stop_request import LIFELINE, StopRequest

INSISTENT = """
import asyncio, os, signal
from vrata.app.stop_request import StopRequest

async def main():
    stop = StopRequest(lambda: print("insisted", flush=True), lambda: None)
    os.kill(os.getpid(), signal.SIGTERM)
    await stop.wait()
    os.kill(os.getpid(), signal.SIGINT)
    await asyncio.sleep(30)

asyncio.run(main())
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_asks_to_stop(number: signal.Signals) -> None:
    async def main() -> None:
        stop = StopRequest(lambda: None, lambda: None)
        assert not stop.is_made
        os.kill(os.getpid(), number)
        await asyncio.wait_for(stop.wait(), 30)
        assert stop.is_made

    asyncio.run(main())


def test_the_second_signal_ends_the_process_at_once() -> None:
    result = subprocess.run([sys.executable, "-c", INSISTENT], capture_output=True, text=True, timeout=20, check=False)
    assert result.returncode == 128 + signal.SIGINT
    assert result.stdout == "insisted\n"


def test_the_end_of_the_lifeline_asks_to_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    os.set_inheritable(reading, True)
    monkeypatch.setenv(LIFELINE, str(reading))

    async def main() -> None:
        stop = StopRequest(lambda: None, lambda: None)
        assert not os.get_inheritable(reading)
        await asyncio.sleep(0.02)
        assert not stop.is_made
        os.close(writing)
        await asyncio.wait_for(stop.wait(), 30)

    asyncio.run(main())
    os.close(reading)


def test_a_hangup_without_a_terminal_is_no_request_to_stop() -> None:
    async def main() -> None:
        hangups: list[int] = []
        stop = StopRequest(lambda: None, lambda: hangups.append(1))
        os.kill(os.getpid(), signal.SIGHUP)
        await eventually_async(lambda: hangups, what="hangup")
        assert not stop.is_made

    asyncio.run(main())


def test_the_signal_by_which_logs_are_rotated_stops_nobody() -> None:
    async def main() -> None:
        rotations: list[int] = []
        stop = StopRequest(lambda: None, on_rotation=lambda: rotations.append(1))
        os.kill(os.getpid(), signal.SIGUSR1)
        await eventually_async(lambda: rotations, what="rotation")
        StopRequest(lambda: None)  # who has no logs
        os.kill(os.getpid(), signal.SIGUSR1)
        await asyncio.sleep(0)
        assert (rotations, stop.is_made) == ([1], False)

    asyncio.run(main())


ON_TERMINAL = """
import fcntl, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)  # as a login shell takes its terminal
import asyncio, os, signal, sys
from vrata.app.stop_request import StopRequest

async def main():
    stop = StopRequest(lambda: None, lambda: print("hangup", flush=True))
    print("ready", flush=True)
    await stop.wait()
    print("a line that nobody reads", flush=True)
    open(sys.argv[1], "w").write("stopped")

asyncio.run(main())
"""


def test_a_terminal_that_ends_is_a_request_to_stop(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    try:
        process = subprocess.Popen(
            [sys.executable, "-c", ON_TERMINAL, str(tmp_path / "said")],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
            text=True,
        )
        os.close(theirs)
        said = b""
        while b"ready" not in said:
            said += os.read(ours, 1000)
        # With the terminal alive, it is a signal like any other.
        process.send_signal(signal.SIGHUP)
        while b"hangup" not in said:
            said += os.read(ours, 1000)
    finally:
        os.close(ours)
    assert process.wait(20) == 0
    assert (tmp_path / "said").read_text() == "stopped"
