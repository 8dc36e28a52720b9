"""What waits to be sent on a connection: the marks of its write buffer, what the kernel has taken out of it, and how
it ends."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import socket
import struct
import termios

HIGH = 65536
"""Bytes beyond which whoever fills the buffer is told to stop. One message more may come before it does: what was read
at once on the other side of the proxy."""

LOW = 16384
"""Bytes down to which the buffer has to empty before it is filled again. More than nothing, so that the kernel still
has something to send while the other side is read again."""

_COUNT = struct.Struct("i")
_AT_ONCE = struct.pack("ii", 1, 0)


def backlog(transport: asyncio.Transport) -> int:
    """Bytes that the peer has not acknowledged: those in the buffer, and those that the kernel has taken out of it.

    The buffer alone does not show that a peer takes a little: the kernel takes nothing more of it until a third of its
    own buffer, which can be megabytes, is free again.
    """
    sock = transport.get_extra_info("socket")
    taken = 0
    if sock is not None:
        try:
            # TIOCOUTQ is SIOCOUTQ, for sockets (tcp(7)).
            (taken,) = _COUNT.unpack(fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, bytes(_COUNT.size)))
        except (OSError, ValueError):
            taken = 0  # the connection is gone, and nothing will be taken
    return transport.get_write_buffer_size() + taken


def end_output(transport: asyncio.Transport) -> None:
    """Send nothing more on *transport*, and let the peer know, if it is still there.

    asyncio's own transport raises OSError where what was written last has met a peer that had closed.
    """
    with contextlib.suppress(OSError):
        transport.write_eof()


def reset_on_close(transport: asyncio.Transport) -> None:
    """Let the close of *transport* be a reset: the peer cannot take it for an end, and the kernel keeps nothing.

    After any other close it goes on offering what it has taken, megabytes perhaps, for as long as the peer answers.
    """
    sock = transport.get_extra_info("socket")
    if sock is not None:
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
