"""Ports on loopback that nobody listens on."""

from __future__ import annotations

import random
import socket
from collections import deque

# Below the range the kernel takes for outgoing connections (32768 and up on Linux), so that no client
# socket of a test can occupy a port between the moment it is chosen and the moment it is bound.
FIRST, LAST = 15000, 32000
# Ports that a process claims for itself.
BLOCK = 500

# Not the generator of the whole program: who seeds that one for a test would look at the same ports in every process.
_random = random.SystemRandom()


class _Claim:
    """Ports that no other process that tests on this machine gives to its tests.

    Without it, two of them would now and then choose the same port: between the choice and the listening nothing else
    tells that it is taken, and one that is to refuse connections is never listened on.
    """

    def __init__(self) -> None:
        # A name of the network namespace, as ports are, which the kernel takes back when the process has ended.
        self._name = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        ports = range(FIRST, LAST)  # where others have claimed all, as good as may be
        for first in _shuffled(range(FIRST, LAST, BLOCK)):
            try:
                self._name.bind(f"\0vrata-tests-ports-{first}")
            except OSError:
                continue
            ports = range(first, first + BLOCK)
            break
        self._ports = deque(_shuffled(ports))

    def __len__(self) -> int:
        return len(self._ports)

    def next(self) -> int:
        """The port that was given least recently."""
        self._ports.rotate(-1)
        return self._ports[-1]


def _shuffled(numbers: range) -> list[int]:
    return _random.sample(numbers, len(numbers))


_claim = _Claim()


def free_port(host: str = "127.0.0.1") -> int:
    """Return a port of *host* that is free now, and that no test has been given lately."""
    for _ in range(len(_claim)):
        if _is_free(host, port := _claim.next()):
            return port
    raise RuntimeError(f"no free port on {host}")


def _is_free(host: str, port: int) -> bool:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True
