"""Listening sockets for servers of our own: the API's, and the proxy's admin port."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from typing import Any

from vrata.config import Address

BACKLOG = 1024


class ListenError(Exception):
    """An address cannot be listened on; the text says why."""

    def __init__(self, address: Address, error: OSError) -> None:
        # Not the error's own text, to which the standard library adds the address a second time.
        reason = os.strerror(error.errno) if error.errno and not isinstance(error, socket.gaierror) else str(error)
        super().__init__(f"cannot listen on {address}: {reason}")
        self.address = address


def listen(address: Address) -> list[socket.socket]:
    """Sockets listening on *address*: one for every address its host name has. Raises :class:`ListenError`."""
    try:
        if not address.host:
            if socket.has_dualstack_ipv6():
                with contextlib.suppress(OSError):  # IPv6 may be known to the kernel and yet be switched off
                    return [_listening(socket.AF_INET6, ("::", address.port), dualstack=True)]
            return [_listening(socket.AF_INET, ("0.0.0.0", address.port))]
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise ListenError(address, error) from None
    sockets: list[socket.socket] = []
    refusal: OSError | None = None
    for family, _, _, _, place in dict.fromkeys(found):
        try:
            sockets.append(_listening(family, place))
        except OSError as error:
            # "localhost" has an IPv6 address also where the machine has none to offer.
            if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT) or len(found) == 1:
                for open_socket in sockets:
                    open_socket.close()
                raise ListenError(address, error) from None
            refusal = error
    if not sockets and refusal is not None:
        raise ListenError(address, refusal)
    return sockets


def _listening(family: int, place: Any, *, dualstack: bool = False) -> socket.socket:
    return socket.create_server(place[:2], family=family, backlog=BACKLOG, dualstack_ipv6=dualstack)
