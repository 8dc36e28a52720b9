"""The channel between the supervisor and one worker, and the messages on it.

A channel is a pair of connected ``SOCK_SEQPACKET`` sockets: packet borders are message borders, order is kept, and
the death of either end is an end of file at the other. A message is one small JSON object, with at most one file
descriptor. Documents never travel in messages: they lie in a sealed memory file whose descriptor goes along.

What the supervisor says is a *command* (imperative), what a worker says is an *event* (past tense). There is no third
kind.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import struct
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, get_args

from vrata.net.descriptors import Reserve
from vrata.proxy.status import EntityProblem

MAX_PACKET = 64 * 1024
"""Bytes of one message; a socket pair's default buffer (208 KiB) holds several."""

RESERVED = 4
"""Descriptors held back for those that come along with messages."""

_DESCRIPTOR = struct.Struct("i")
_ANCILLARY_SIZE = socket.CMSG_LEN(_DESCRIPTOR.size)


# commands


@dataclass(frozen=True, slots=True)
class ShareCounts:
    """Count in the table that comes along, together with the proxy's other workers; the first of all commands."""


@dataclass(frozen=True, slots=True)
class ShareBuckets:
    """Take tokens from the table of buckets that comes along, together with the proxy's other workers; comes before
    the first Apply."""


@dataclass(frozen=True, slots=True)
class AdoptListener:
    """Take the listening socket that comes along for *address* (``host:port``); it serves from the next Apply on."""

    address: str


@dataclass(frozen=True, slots=True)
class AmendDocument:
    """Change the document of that edition as the file says whose descriptor comes along (``proxy.amendments``)."""

    edition: int


@dataclass(frozen=True, slots=True)
class Judge:
    """From now on the endpoints stand as the file says whose descriptor comes along (``proxy.standing``)."""


@dataclass(frozen=True, slots=True)
class Apply:
    """Serve with the document whose descriptor comes along; answered by Applied or Rejected with the same edition."""

    edition: int


@dataclass(frozen=True, slots=True)
class Drain:
    """Accept nothing more, finish what is in flight for at most *timeout* seconds, say Drained and exit."""

    timeout: float


@dataclass(frozen=True, slots=True)
class CollectMetrics:
    """Say MetricsHandedOver with the same number."""

    collection: int


@dataclass(frozen=True, slots=True)
class ReopenLogs:
    """Open the files of access logs again: they may have been moved away."""


@dataclass(frozen=True, slots=True)
class AnswerScrape:
    """Answer the scrape of that number with the text whose descriptor comes along."""

    scrape: int


# events


@dataclass(frozen=True, slots=True)
class Applied:
    """The worker serves *edition*; *problems* name the entities it had to leave out."""

    edition: int
    problems: tuple[EntityProblem, ...]


@dataclass(frozen=True, slots=True)
class ProblemsChanged:
    """The worker still serves *edition*, and now has these *problems* with it."""

    edition: int
    problems: tuple[EntityProblem, ...]


@dataclass(frozen=True, slots=True)
class Rejected:
    """The worker could not serve *edition* and goes on with what it had."""

    edition: int
    reason: str


@dataclass(frozen=True, slots=True)
class Drained:
    """Everything in flight has ended; not *complete* when some of it was cut at the deadline."""

    complete: bool


@dataclass(frozen=True, slots=True)
class TerminationRequested:
    """Somebody sent the worker a SIGTERM; it serves on until its successor does, and it is told to drain."""


@dataclass(frozen=True, slots=True)
class MetricsHandedOver:
    """What was counted since the last time is in the file whose descriptor comes along (``metrics.handover``).

    *collection* is 0 when nobody asked.
    """

    collection: int


@dataclass(frozen=True, slots=True)
class ScrapeArrived:
    """Somebody wants to see the metrics of a listener, in the text format of Prometheus or in OpenMetrics."""

    scrape: int
    listener_id: str
    address: str
    openmetrics: bool


Command = (
    ShareCounts
    | ShareBuckets
    | AdoptListener
    | AmendDocument
    | Judge
    | Apply
    | Drain
    | CollectMetrics
    | AnswerScrape
    | ReopenLogs
)
Event = Applied | ProblemsChanged | Rejected | Drained | TerminationRequested | MetricsHandedOver | ScrapeArrived
Message = Command | Event

_KINDS: dict[str, type[Message]] = {kind.__name__: kind for kind in (*get_args(Command), *get_args(Event))}


class MalformedMessage(Exception):  # noqa: N818 - named after what it reports
    """A packet that is none of the messages above: the two ends do not run the same program."""


def encode(message: Message) -> bytes:
    """Return the packet for *message*. Raises ``ValueError`` if it is larger than :data:`MAX_PACKET`."""
    packet = json.dumps({"kind": type(message).__name__, **asdict(message)}, separators=(",", ":")).encode()
    if len(packet) > MAX_PACKET:
        raise ValueError(f"a {type(message).__name__} of {len(packet)} bytes is larger than a packet may be")
    return packet


def decode(packet: bytes) -> Message:
    """Return the message in *packet*. Raises :class:`MalformedMessage`."""
    try:
        fields: dict[str, Any] = json.loads(packet)
        kind = _KINDS[fields.pop("kind")]
        if kind in (Applied, ProblemsChanged):
            fields["problems"] = tuple(EntityProblem(**problem) for problem in fields["problems"])
        return kind(**fields)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise MalformedMessage(f"{packet[:200]!r}: {error}") from error


class Channel:
    """One end of a channel, served by the running event loop.

    *on_message* is called with each message and the descriptor that came along, which then belongs to the callee.
    *on_closed* is called once, when the other end is gone.
    """

    def __init__(
        self,
        sock: socket.socket,
        on_message: Callable[[Message, int | None], None],
        on_closed: Callable[[], None],
    ) -> None:
        sock.setblocking(False)
        self._socket = sock
        self._on_message = on_message
        self._on_closed = on_closed
        self._unsent: deque[tuple[bytes, int | None]] = deque()
        # A descriptor that comes along with a message would be lost if there was no number left for it.
        self._reserve = Reserve(RESERVED)
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(sock.fileno(), self.receive)

    def __repr__(self) -> str:
        return f"<Channel {'closed' if self.is_closed else self._socket.fileno()}, {len(self._unsent)} unsent>"

    @property
    def is_closed(self) -> bool:
        """Whether this end takes no more messages."""
        return self._socket.fileno() < 0

    def send(self, message: Message, descriptor: int | None = None) -> None:
        """Send *message* in its turn, with a duplicate of *descriptor*, which stays the caller's.

        A message to an end that is gone is dropped: its death is reported by other means.
        """
        if self.is_closed:
            return
        packet = encode(message)
        if self._unsent or not self._send_now(packet, descriptor):
            # The receiver is behind. The caller may close its descriptor before the packet leaves.
            self._unsent.append((packet, None if descriptor is None else os.dup(descriptor)))
            self._loop.add_writer(self._socket.fileno(), self._send_more)

    def receive(self) -> None:
        """Hand over every message that has arrived; called by the loop, and once more before a dead end is closed."""
        while not self.is_closed:
            try:
                with self._reserve.lent():
                    packet, descriptor = _receive(self._socket)
            except BlockingIOError:
                return
            except ConnectionError:
                packet, descriptor = b"", None
            if not packet:
                self.close()
                self._on_closed()
                return
            self._deliver(packet, descriptor)

    def close(self) -> None:
        """Close this end; messages that could not be sent yet are dropped."""
        if self.is_closed:
            return
        self._loop.remove_reader(self._socket.fileno())
        self._loop.remove_writer(self._socket.fileno())
        self._socket.close()
        self._reserve.close()
        for _, descriptor in self._unsent:
            if descriptor is not None:
                os.close(descriptor)
        self._unsent.clear()

    def _deliver(self, packet: bytes, descriptor: int | None) -> None:
        try:
            message = decode(packet)
        except MalformedMessage:
            if descriptor is not None:
                os.close(descriptor)
            raise
        self._on_message(message, descriptor)

    def _send_now(self, packet: bytes, descriptor: int | None) -> bool:
        try:
            if descriptor is None:
                self._socket.send(packet)
            else:
                socket.send_fds(self._socket, [packet], [descriptor])
        except BlockingIOError:
            return False
        except ConnectionError:
            pass
        return True

    def _send_more(self) -> None:
        while self._unsent:
            packet, descriptor = self._unsent[0]
            try:
                if not self._send_now(packet, descriptor):
                    return
            except OSError:
                # The order of messages is broken for good; the other end takes the close for our death.
                self.close()
                self._on_closed()
                return
            self._unsent.popleft()
            if descriptor is not None:
                os.close(descriptor)
        self._loop.remove_writer(self._socket.fileno())


def _receive(sock: socket.socket) -> tuple[bytes, int | None]:
    """Return the next packet and its descriptor, which no child process inherits.

    Not ``socket.recv_fds``: that one drops its flags, and with them MSG_CMSG_CLOEXEC.
    """
    packet, ancillary, _, _ = sock.recvmsg(MAX_PACKET, _ANCILLARY_SIZE, socket.MSG_CMSG_CLOEXEC)
    for level, kind, content in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            return packet, _DESCRIPTOR.unpack(content)[0]
    return packet, None
