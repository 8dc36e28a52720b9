"""A whole proxy in memory: connections of clients and upstreams, and every event in any order.

The input is a program: each byte an operation, the bytes behind it what it needs. In the end everything is closed and
time passes, and then there must be nothing left, and each client must have got what belongs to it.
"""

from __future__ import annotations

from asyncio import events
from collections.abc import Iterator
from random import Random
from typing import Any

import structlog

from tests.fuzz.peers import FIRST_IDENTITY, Arrival, ClientPeer, UpstreamPeer
from tests.support.gateway import destination, forward, route
from tests.support.in_process_proxy import InProcessProxy
from tests.support.simulated_loop import HIGH_WATER, READ_SIZE, SimulatedLoop, SimulatedTransport

LISTENER_LIMITS = {
    "clientHeader": "200ms",
    "clientRequest": "600ms",
    "clientResponse": "600ms",
    "idleBetweenRequests": "800ms",
}
LIMITS = {
    "connect": "100ms",
    "responseHeader": "200ms",
    "request": "400ms",
    "expectContinue": "60ms",
    "idleConnection": "400ms",
}
RETRY = {"attempts": 2, "perAttemptTimeout": "150ms", "backoff": {"base": "30ms", "max": "60ms"}}
LONGEST = 3.2
"""Seconds after which every limit of one request has passed, one behind the other, and those of idle connections."""
MAX_CLIENTS = 4
MAX_UPSTREAMS = 8
MAX_KEPT = HIGH_WATER + 3 * READ_SIZE
"""Bytes that a transport may have to keep: what is under way when its protocol is asked to pause."""
STEPS = (0.001, 0.03, 0.055, 0.11, 0.22, 0.42, 0.62, 0.82)
"""Seconds that pass at once."""
DICTIONARY = (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n", b"0\r\n\r\n", b"HTTP/1.1 100 C\r\n\r\n")

# Operations: the low five bits of a byte. With the high bit the loop does not turn after it, so that several things
# happen at once.
(
    CONNECT,
    REQUEST,
    SEND,
    SEND_RAW,
    CLIENT_READS,
    LEAVE,
    ANSWER,
    ANSWER_PART,
    ANSWER_RAW,
    UPSTREAM_READS,
    UPSTREAM_ENDS,
    PASS_TIME,
    HOLD_DIALS,
    DECIDE_DIAL,
    APPLY,
    REQUEST_WHOLE,
    ANSWER_WHOLE,
) = range(17)


CHANCE_SEEDS = 300
SIZES = (0, 1, 50, 199, 199, 203, 255)
STORIES = (
    (REQUEST_WHOLE, ANSWER_WHOLE),
    (REQUEST_WHOLE, REQUEST_WHOLE, ANSWER_WHOLE, ANSWER_WHOLE),
    (REQUEST_WHOLE, ANSWER, ANSWER_PART, ANSWER_PART, ANSWER_PART),
    (REQUEST_WHOLE, ANSWER, ANSWER_PART, UPSTREAM_ENDS),
    (REQUEST_WHOLE, ANSWER, ANSWER_PART, PASS_TIME),
    (REQUEST_WHOLE, ANSWER, ANSWER_PART, LEAVE),
    (REQUEST, SEND, ANSWER_WHOLE, SEND, REQUEST_WHOLE, ANSWER_WHOLE),
    (REQUEST, SEND, ANSWER, ANSWER_PART, SEND, UPSTREAM_ENDS),
    (REQUEST, SEND, PASS_TIME, SEND, ANSWER_WHOLE),
    (-CLIENT_READS, REQUEST_WHOLE, ANSWER_WHOLE, PASS_TIME, CLIENT_READS),
    (-CLIENT_READS, REQUEST_WHOLE, ANSWER_WHOLE, UPSTREAM_ENDS, REQUEST_WHOLE, CLIENT_READS),
    (-UPSTREAM_READS, REQUEST_WHOLE, PASS_TIME, UPSTREAM_READS, ANSWER_WHOLE),
    (REQUEST, SEND, -UPSTREAM_READS, SEND, ANSWER_WHOLE, REQUEST_WHOLE, UPSTREAM_READS),
    (-HOLD_DIALS, REQUEST_WHOLE, PASS_TIME, DECIDE_DIAL, HOLD_DIALS, ANSWER_WHOLE),
    (-HOLD_DIALS, REQUEST_WHOLE, -DECIDE_DIAL, HOLD_DIALS),
    (REQUEST_WHOLE, APPLY, ANSWER_WHOLE),
    (REQUEST_WHOLE, UPSTREAM_ENDS),
    (UPSTREAM_ENDS, REQUEST_WHOLE, ANSWER_WHOLE),
    (REQUEST_WHOLE, ANSWER_RAW),
    (ANSWER_RAW,),
    (SEND_RAW,),
    (CONNECT,),
    (LEAVE,),
    (PASS_TIME,),
)
"""What happens together in programs by chance; a minus switches off."""


class Program:
    """The input, read byte by byte; zeros when it is at its end."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def __bool__(self) -> bool:
        return self._at < len(self._data)

    def byte(self) -> int:
        self._at += 1
        return self._data[self._at - 1] if self._at <= len(self._data) else 0

    def size(self) -> int:
        """A number of bytes, from none to some that no buffer takes at once."""
        value = self.byte()
        return value if value < 200 else (value - 199) * 6007

    def raw(self) -> bytes:
        length = self.byte()
        piece = self._data[self._at : self._at + length]
        self._at += length
        return piece


class World:
    """One proxy, used for one program after the other; nothing may be left of one when the next begins."""

    def __init__(self) -> None:
        self.errors: list[Any] = []
        """What was logged as an error."""
        self._limited = False
        self.loop = SimulatedLoop()  # type: ignore[abstract] # nobody asks it for the rest
        events._set_running_loop(self.loop)
        try:
            self.proxy = InProcessProxy()
        finally:
            events._set_running_loop(None)
        self._apply(0)

    def run(self, program: Program, errors: list[Any]) -> None:
        """Run one program, let everything end, and check what came of it; *errors* is what was logged as such."""
        self.errors = errors
        self._clients: list[ClientPeer] = []
        self._upstreams: list[UpstreamPeer] = []
        self._identity = FIRST_IDENTITY
        self.loop.network.accepts = True
        self._limited = False
        self._apply(program.byte())
        while program:
            self._step(program)
        self._wind_down()
        arrivals: dict[int, list[Arrival]] = {}
        for upstream in self._upstreams:
            for arrival in upstream.arrivals:
                if arrival.identity is not None:
                    arrivals.setdefault(arrival.identity, []).append(arrival)
        for client in self._clients:
            client.check(arrivals)

    def close(self) -> None:
        """Give up what the proxy holds of the real world: the socket that it believes to listen on."""
        self.loop.run(self.proxy.data_plane.drain(0))

    def _step(self, program: Program) -> None:
        operation = program.byte()
        match operation & 31:
            case 0 if len(self._clients) < MAX_CLIENTS:  # CONNECT
                self._clients.append(ClientPeer(self.loop.network.client(len(self._clients)), self.loop))
            case 1 | 15:  # REQUEST, REQUEST_WHOLE
                client = self._client(program)
                if client is not None:
                    self._identity += 1
                    client.prepare(self._identity, program.byte(), program.size())
                    if operation & 31 == REQUEST_WHOLE:
                        client.send(0)
            case 2:  # SEND
                client = self._client(program)
                if client is not None:
                    client.send(program.size())
            case 3:  # SEND_RAW
                client = self._client(program)
                if client is not None:
                    client.send_raw(program.raw())
            case 4:  # CLIENT_READS
                client = self._client(program)
                if client is not None:
                    client.transport.peer_reads(bool(operation & 64))
            case 5:  # LEAVE
                client = self._client(program)
                if client is not None:
                    client.leave(program.byte() % 3)
            case 6 | 16:  # ANSWER, ANSWER_WHOLE
                upstream = self._upstream(program)
                if upstream is not None:
                    upstream.prepare(program.byte(), program.size())
                    if operation & 31 == ANSWER_WHOLE:
                        upstream.send(0)
            case 7:  # ANSWER_PART
                upstream = self._upstream(program)
                if upstream is not None:
                    upstream.send(program.size())
            case 8:  # ANSWER_RAW
                upstream = self._upstream(program)
                if upstream is not None:
                    upstream.send_raw(program.raw())
            case 9:  # UPSTREAM_READS
                upstream = self._upstream(program)
                if upstream is not None:
                    upstream.transport.peer_reads(bool(operation & 64))
            case 10:  # UPSTREAM_ENDS
                upstream = self._upstream(program)
                if upstream is not None:
                    upstream.close(program.byte() % 3)
            case 11:  # PASS_TIME
                self.loop.advance(STEPS[program.byte() % len(STEPS)])
            case 12:  # HOLD_DIALS
                self.loop.network.accepts = bool(operation & 64)
            case 13:  # DECIDE_DIAL
                self.loop.network.decide(bool(operation & 64))
            case 14:  # APPLY
                self._apply(program.byte())
        if not operation & 128:
            self._settle()

    def _settle(self) -> None:
        self.loop.settle()
        network = self.loop.network
        self._upstreams += [UpstreamPeer(transport, self.loop) for transport in network.upstream]
        network.upstream.clear()
        for upstream in self._upstreams:
            upstream.read()
        for transport in self._transports():
            assert transport.get_write_buffer_size() <= MAX_KEPT, "more is kept than the peer takes"
        status = self.proxy.data_plane.status()
        assert 0 <= status.in_flight <= status.connections <= len(self._clients)
        assert not self.errors, self.errors
        if not self._limited and not self.loop.network.dials and not any(self._backlogs()):
            for client in self._clients:
                assert not client.waits_in_vain(), "a body is not read, and everybody would take it"

    def _wind_down(self) -> None:
        """Everybody reads again and does nothing more; every limit passes."""
        self.loop.network.accepts = True
        while self.loop.network.dials:
            self.loop.network.decide(False)
            self._settle()
        for transport in self._transports():
            transport.peer_reads(True)
        self._settle()
        for upstream in self._upstreams:
            if upstream.arrivals and (upstream.arrivals[-1].endless or upstream.arrivals[-1].poisoned):
                upstream.close(0)
        # The requests of one connection run into their limits one after the other.
        for _ in range(1 + max((len(client.asked) for client in self._clients), default=0)):
            self.loop.advance(LONGEST)
            self._settle()
            if all(transport.lost for transport in self._transports()):
                break
        self._apply(0)  # a pool with a limit is watched as long as it is configured
        self._settle()
        status = self.proxy.data_plane.status()
        assert (status.connections, status.in_flight) == (0, 0), status
        assert self.proxy.watched == 0, ("something is still watched", list(self.proxy.data_plane._sweeper._watched))
        for pool in self.proxy.data_plane._registry._pools.values():
            assert pool.connections == 0, pool
            assert " 0 idle, 0 dialling" in repr(pool), pool
        assert "0 running" in repr(self.proxy.tasks)
        assert all(transport.lost for transport in self._transports())

    def _apply(self, choice: int) -> None:
        options: dict[str, Any] = {"timeouts": LIMITS}
        # Once there is a limit, requests may wait for a connection that no limit holds back any more.
        self._limited = self._limited or bool(choice & 1)
        if choice & 1:
            options["maxConnsPerHost"] = 1 + (choice >> 2 & 1)
        document = destination("b", 80 + (choice >> 1 & 1), host="192.0.2.2", **options)
        listener = self.proxy.listener(timeouts=LISTENER_LIMITS)
        action = forward("b", retry=RETRY) if choice & 8 else forward("b")
        report = self.loop.run(
            self.proxy.apply(route("all", forward=action), listeners=[listener], destinations=[document])
        )
        assert not report.problems

    def _transports(self) -> list[SimulatedTransport]:
        return [peer.transport for peer in self._clients] + [peer.transport for peer in self._upstreams]

    def _backlogs(self) -> Iterator[int]:
        return (transport.get_write_buffer_size() for transport in self._transports())

    def _client(self, program: Program) -> ClientPeer | None:
        choice = program.byte()
        return self._clients[choice % len(self._clients)] if self._clients else None

    def _upstream(self, program: Program) -> UpstreamPeer | None:
        """One that owes an answer, if there is any; with the high bit one of the youngest, whatever it does."""
        choice = program.byte()
        recent = self._upstreams[-MAX_UPSTREAMS:]
        owing = [upstream for upstream in recent if upstream.current is not None and not upstream.transport.lost]
        found = recent if choice & 128 or not owing else owing
        return found[-1 - choice % len(found)] if found else None


_worlds: list[World] = []


def check(data: bytes) -> None:
    """Run *data* as a program. Raises ``AssertionError``, or whatever escapes from a callback."""
    previous = structlog.get_config()["processors"]
    errors: list[Any] = []

    def collect(logger: Any, method: str, entry: Any) -> Any:
        if method in ("error", "exception", "critical"):
            errors.append(entry)
        raise structlog.DropEvent

    structlog.configure(processors=[collect])
    try:
        world = _worlds.pop() if _worlds else World()
        try:
            world.run(Program(data), errors)
        except BaseException:
            world.close()  # what has failed is not used again
            raise
        _worlds.append(world)
    finally:
        structlog.configure(processors=previous)


def close() -> None:
    """Give up the world that was kept for the next program."""
    while _worlds:
        _worlds.pop().close()


def seeds() -> Iterator[bytes]:
    """Programs that touch everything once, and others as chance has it."""
    connect, request, answer = bytes([CONNECT]), bytes([REQUEST_WHOLE, 0]), bytes([ANSWER_WHOLE, 0])
    for choice in (0, 1, 2, 5, 13, 16, 21, 36, 45, 64, 128, 192):
        for answered in (0, 1, 2, 3, 4, 8, 9, 48, 64, 128):
            yield b"\x00" + connect + (request + bytes([choice, 30]) + answer + bytes([answered, 90])) * 2
    for number in range(CHANCE_SEEDS):
        yield _program_by_chance(Random(number))


def _program_by_chance(random: Random) -> bytes:
    """A program that mostly makes sense: exchanges and what disturbs them."""
    parts = [random.choice((0, 0, 0, 1, 2, 5)), CONNECT, CONNECT]
    for _ in range(random.randint(2, 12)):
        for operation in random.choice(STORIES):
            parts += _operation(operation, random)
    return bytes(parts)


def _operation(operation: int, random: Random) -> list[int]:
    """*operation* with what it needs; negative is its form without the bit for "on"."""
    flags = (
        64 if operation in (CLIENT_READS, UPSTREAM_READS, HOLD_DIALS, DECIDE_DIAL) else random.choice((0, 0, 0, 128))
    )
    code = [abs(operation) | (0 if operation < 0 else flags)]
    match abs(operation):
        case 0 | 12 | 13:  # CONNECT, HOLD_DIALS, DECIDE_DIAL
            return code
        case 11 | 14:  # PASS_TIME, APPLY
            return [*code, random.choice((0, 1, 2, 3, 4, 5))]
    code.append(random.choice((0, 0, 0, 1, 1, 128)))
    match abs(operation):
        case 1 | 15:  # REQUEST, REQUEST_WHOLE
            return [*code, random.choice((0, 0, 1, 4, 5, 5, 13, 36, 45, random.randrange(256))), random.choice(SIZES)]
        case 6 | 16:  # ANSWER, ANSWER_WHOLE
            return [*code, random.choice((0, 0, 1, 1, 2, 4, 8, random.randrange(256))), random.choice(SIZES)]
        case 2 | 7:  # SEND, ANSWER_PART
            return [*code, random.choice((0, 1, 20, 90, 130, 170, 205))]
        case 5 | 10:  # LEAVE, UPSTREAM_ENDS
            return [*code, random.randrange(3)]
        case 3 | 8:  # SEND_RAW, ANSWER_RAW
            raw = random.choice(DICTIONARY)
            return [*code, len(raw), *raw]
    return code
