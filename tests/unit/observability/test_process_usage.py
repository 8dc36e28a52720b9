from __future__ import annotations

import os
import resource
import subprocess
import sys

import pytest

from vrata.observability.process_usage import ProcessUsage


def test_this_process() -> None:
    before = ProcessUsage.of(os.getpid())
    deadline = before.cpu_seconds + 0.05
    kept = [os.open(os.devnull, os.O_RDONLY) for _ in range(20)]
    try:
        content = bytearray(20_000_000)
        while ProcessUsage.of(os.getpid()).cpu_seconds < deadline:
            content[::4096] = b"x" * len(content[::4096])
        now = ProcessUsage.of(os.getpid())
    finally:
        for descriptor in kept:
            os.close(descriptor)
    used = resource.getrusage(resource.RUSAGE_SELF)
    assert now.cpu_seconds == pytest.approx(used.ru_utime + used.ru_stime, abs=0.5)
    assert now.resident_bytes > len(content)
    assert now.descriptors == before.descriptors + 20
    assert now.most_descriptors == resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def test_a_process_whose_name_has_a_parenthesis() -> None:
    program = "import sys; open('/proc/self/comm', 'w').write(') R 1 ('); print('there', flush=True); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline() == b"there\n"
        assert ProcessUsage.of(process.pid).resident_bytes > 1_000_000
        process.stdin.close()


def test_a_process_that_has_ended() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    with pytest.raises(OSError):  # noqa: PT011 - whichever the kernel finds first
        ProcessUsage.of(process.pid)
