"""Ports on loopback that nobody listens on."""

from __future__ import annotations

import os
import random
import socket

# Below the range the kernel takes for outgoing connections (32768 and up on Linux), so that no client
# socket of a test can occupy a port between the moment it is chosen and the moment it is bound.
FIRST, LAST = 15000, 32000

_random = random.Random(os.urandom(16))
_given: set[int] = set()


def free_port(host: str = "127.0.0.1") -> int:
    """Return a port of *host* that is free now and was not returned before in this process."""
    for _ in range(1000):
        port = _random.randint(FIRST, LAST)
        if port not in _given and _is_free(host, port):
            _given.add(port)
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
