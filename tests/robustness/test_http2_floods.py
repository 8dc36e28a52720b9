"""Floods over HTTP/2: what costs a client next to nothing and a server more (RFC 9113 §10.5).

Each runs against a real Vrata with one worker for as long as the worker lets it. Meanwhile another client has to be
served, and what the worker takes of memory and processor time is bounded.
"""

from __future__ import annotations

import contextlib
import itertools
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from bench.processes import peak_resident, reset_peak, resident, usage
from tests.support import http2_frames as frames
from tests.support.conditions import eventually
from tests.support.gateway import Gateway, destination, forward, listener, route
from tests.support.http2_frames import Code, Kind, Setting
from tests.support.http2_peer import Http2Peer, PeerGone
from tests.support.ports import free_port
from tests.support.recording_backend import Exchange, RecordingBackend
from vrata.compilation import INTERPRETED

MAX_GROWTH = 32.0
"""MiB by which a flood may let the worker grow."""
MAX_PROCESSOR = 3.0
"""Seconds of processor time that a flood may cost until it is stopped."""
MAX_WAIT = 3.0 if INTERPRETED else 1.0
"""Seconds of the worker's processor time that another client may have to wait for an answer meanwhile.

Those of the clock depend on who else wants the processor.

What is read at once is a long piece of work for an interpreter.
"""
MOST = 200_000
"""Frames of a flood; the worker has to end it by then."""


@dataclass(frozen=True, slots=True)
class Target:
    """The Vrata that is flooded."""

    port: int
    worker: int
    gateway: Gateway


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    port = free_port()
    with (
        RecordingBackend() as backend,
        Gateway(tmp_path_factory.mktemp("floods"), proxy={"workers": 1}, log={"format": "json"}) as gateway,
    ):
        backend.script = answer_a_lot
        gateway.configure(
            listeners=[listener(port, http2=True)],
            destinations=[destination("backend", backend.port)],
            routes=[
                route("small", {"path": "/small"}, directResponse={"status": 200, "body": "small"}),
                route("all", forward=forward("backend")),
            ],
        )
        (worker,) = gateway.workers()
        with Http2Peer.connect(port) as client:
            client.start()
            for stream in range(1, 200, 2):
                client.request(stream, path="/small")
                client.await_message(stream)
        yield Target(port, worker, gateway)
        assert gateway.workers() == [worker], "the worker was replaced"


def answer_a_lot(exchange: Exchange) -> None:
    with contextlib.suppress(OSError):
        exchange.respond(body=b"x" * 1_000_000)


class Bystander:
    """Another client, which asks again and again, and notes how long the worker was busy until the slowest answer."""

    def __init__(self, target: Target) -> None:
        self._port = target.port
        self._worker = target.worker
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.slowest = 0.0
        self.answers = 0
        self.failure = ""

    def __enter__(self) -> Bystander:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            with Http2Peer.connect(self._port) as client:
                client.start()
                for stream in itertools.count(1, 2):
                    if self._over.is_set() and self.answers > 10:
                        return
                    before = usage(self._worker).processor
                    client.request(stream, path="/small")
                    assert client.await_message(stream).content == b"small"
                    self.slowest = max(self.slowest, usage(self._worker).processor - before)
                    self.answers += 1
                    client.received.clear()
                    self._over.wait(0.005)
        except (AssertionError, OSError) as error:
            self.failure = repr(error)


Flood = Callable[[Http2Peer], None]


def held_off(target: Target, flood: Flood, *, reads: bool = True) -> Http2Peer:
    """Let *flood* loose; what was left of its connection. The others were served, and the worker took little."""
    reset_peak(target.worker)
    memory, processor = resident(target.worker), usage(target.worker).processor
    with Bystander(target) as bystander, Http2Peer.connect(target.port) as attacker:
        attacker.start()
        with contextlib.suppress(PeerGone):
            flood(attacker)
        if reads:
            attacker.await_end()
    growth = peak_resident(target.worker) - memory
    cost = usage(target.worker).processor - processor
    print(f"{flood.__name__}: {growth:.1f} MiB, {cost:.2f} s, slowest {bystander.slowest:.3f} s")  # noqa: T201 - shown
    assert not bystander.failure
    assert bystander.slowest < MAX_WAIT
    assert growth < MAX_GROWTH
    assert cost < MAX_PROCESSOR
    return attacker


def pour(attacker: Http2Peer, frame: Callable[[int], bytes], at_once: int = 50) -> None:
    """Send frames until the worker ends the connection, or it has all of them to end it for."""
    attacker.acknowledges = False
    for number in range(0, MOST, at_once):
        attacker.send(b"".join(frame(each) for each in range(number, number + at_once)))
        if not _still_open(attacker):
            return


def _still_open(attacker: Http2Peer) -> bool:
    """Read what has come, without waiting for more."""
    deadline = time.monotonic() + 30
    while _readable(attacker.sock):
        if attacker.next_frame(deadline) is None or attacker.goodbye is not None:
            return False
        if len(attacker.received) > 1000:
            attacker.received.clear()
    return True


def _readable(sock: socket.socket) -> bool:
    looking = select.poll()  # select() takes no descriptor from 1024 on
    looking.register(sock, select.POLLIN)
    return bool(looking.poll(0))


def rapid_reset(attacker: Http2Peer) -> None:
    block = attacker.block(attacker.request_fields(path="/large"))
    pour(attacker, lambda number: frames.headers(2 * number + 1, block, end=True) + frames.rst_stream(2 * number + 1))


def rapid_reset_of_uploads(attacker: Http2Peer) -> None:
    block = attacker.block(attacker.request_fields(method="POST", path="/large"))
    pour(attacker, lambda number: frames.headers(2 * number + 1, block) + frames.rst_stream(2 * number + 1))


def made_you_reset(attacker: Http2Peer) -> None:
    block = attacker.block(attacker.request_fields(("content-length", "1"), method="POST", path="/large"))
    pour(attacker, lambda number: frames.headers(2 * number + 1, block) + frames.data(2 * number + 1, b"x" * 100))


def malformed_heads(attacker: Http2Peer) -> None:
    pour(attacker, lambda number: frames.headers(2 * number + 1, b"\x00\x00\x00", end=True))


def continuations(attacker: Http2Peer) -> None:
    attacker.send(frames.headers(1, b"\x82", end_headers=False))
    pour(attacker, lambda _: frames.continuation(1, b"\x00\x01x\x01y" * 100, end_headers=False))


def empty_continuations(attacker: Http2Peer) -> None:
    attacker.send(frames.headers(1, b"\x82", end_headers=False))
    pour(attacker, lambda _: frames.continuation(1, end_headers=False))


def settings(attacker: Http2Peer) -> None:
    pour(attacker, lambda number: frames.settings({Setting.INITIAL_WINDOW_SIZE: number}))


def many_settings(attacker: Http2Peer) -> None:
    pour(attacker, lambda _: frames.frame(Kind.SETTINGS, payload=b"\x00\x04\x00\x00\x00\x01" * 2000), 1)


def pings(attacker: Http2Peer) -> None:
    pour(attacker, lambda _: frames.ping())


def priorities(attacker: Http2Peer) -> None:
    pour(attacker, lambda number: frames.priority(2 * number + 1))


def unknown_frames(attacker: Http2Peer) -> None:
    pour(attacker, lambda _: frames.frame(0x77, payload=b"x" * 100))


def too_many_streams(attacker: Http2Peer) -> None:
    block = attacker.block(attacker.request_fields(method="POST", path="/large"))
    pour(attacker, lambda number: frames.headers(2 * number + 1, block))


def empty_content(attacker: Http2Peer) -> None:
    attacker.request(1, method="POST", path="/large", end=False)
    pour(attacker, lambda _: frames.data(1))


def padded_content(attacker: Http2Peer) -> None:
    attacker.renews = False
    attacker.request(1, method="POST", path="/large", end=False)
    pour(attacker, lambda _: frames.data(1, padding=10), 1000)


def windows_of_a_byte(attacker: Http2Peer) -> None:
    attacker.renews = False
    attacker.send(frames.settings({Setting.INITIAL_WINDOW_SIZE: 0}))
    attacker.request(1, path="/large")
    pour(attacker, lambda _: frames.window_update(1, 1))


CALMED = [
    *(rapid_reset, rapid_reset_of_uploads, made_you_reset, malformed_heads, continuations, empty_continuations),
    *(
        too_many_streams,
        settings,
        many_settings,
        pings,
        priorities,
        unknown_frames,
        empty_content,
        padded_content,
        windows_of_a_byte,
    ),
]


@pytest.mark.parametrize("flood", CALMED, ids=lambda flood: flood.__name__)
def test_a_flood_is_stopped(target: Target, flood: Flood) -> None:
    attacker = held_off(target, flood)
    assert attacker.goodbye is not None
    assert attacker.goodbye.code == Code.ENHANCE_YOUR_CALM


@pytest.mark.parametrize("flood", [rapid_reset, settings, pings], ids=lambda flood: flood.__name__)
def test_a_flood_of_one_that_reads_nothing_is_stopped_as_well(target: Target, flood: Flood) -> None:
    def blind(attacker: Http2Peer) -> None:
        attacker.sock.settimeout(5)
        attacker.send = _until_refused(attacker)  # type: ignore[method-assign]
        with contextlib.suppress(AssertionError, OSError):
            flood(attacker)

    blind.__name__ = f"blind {flood.__name__}"
    held_off(target, blind, reads=False)


def _until_refused(attacker: Http2Peer) -> Callable[..., None]:
    def send(*parts: bytes) -> None:
        attacker.sock.settimeout(5)
        attacker.sock.sendall(b"".join(parts))

    return send


def test_a_head_that_unpacks_to_a_bomb_is_refused(target: Target) -> None:
    def bombs(attacker: Http2Peer) -> None:
        # A field of 4000 bytes into the table, and then 16000 references to it: 64 MiB in 20 KiB.
        value = b"x" * 4000
        literal = b"\x40\x01a" + b"\x7f\xa1\x1e" + value
        fields = attacker.block([(":method", "GET"), (":scheme", "http"), (":path", "/small"), (":authority", "a")])
        for stream in range(1, 21, 2):
            block = fields + literal + b"\xbe" * 12000
            attacker.send(frames.headers(stream, block[:16000], end=True, end_headers=False))
            attacker.send(frames.continuation(stream, block[16000:]))
            attacker.await_that(lambda s=stream: attacker.message(s).is_over or bool(attacker.ended), "an answer")  # type: ignore[misc]

    attacker = held_off(target, bombs)
    refused = [message for message in attacker.messages.values() if message.status == 431 or message.reset]
    assert attacker.goodbye is not None or refused


def test_streams_over_the_limit_are_refused_and_the_others_kept(target: Target) -> None:
    def streams(attacker: Http2Peer) -> None:
        for stream in range(1, 501, 2):
            attacker.request(stream, method="POST", path="/large", end=False)
        attacker.await_that(lambda: refused(attacker) == list(range(257, 501, 2)), "refusals")
        attacker.sock.shutdown(socket.SHUT_WR)

    attacker = held_off(target, streams)
    assert len(refused(attacker)) == 122
    assert attacker.goodbye is None


def refused(attacker: Http2Peer) -> list[int]:
    return sorted(number for number, found in attacker.messages.items() if found.reset == Code.REFUSED_STREAM)


def test_streams_that_take_nothing_cost_little(target: Target) -> None:
    def unread(attacker: Http2Peer) -> None:
        attacker.renews = False
        attacker.send(frames.settings({Setting.INITIAL_WINDOW_SIZE: 0}))
        for stream in range(1, 257, 2):
            attacker.request(stream, path="/large")
        for stream in range(1, 257, 2):
            attacker.await_head(stream)
        for stream in range(1, 257, 2):
            attacker.send(frames.window_update(stream, 1))
        attacker.round_trip()
        attacker.sock.shutdown(socket.SHUT_WR)

    reset_peak(target.worker)
    before = resident(target.worker)
    with Bystander(target) as bystander, Http2Peer.connect(target.port) as attacker:
        attacker.start()
        unread(attacker)
    assert not bystander.failure
    assert bystander.slowest < MAX_WAIT
    # 64 KiB for each stream, and what was read at once.
    assert peak_resident(target.worker) - before < 128 * (0.0625 + 0.25) + MAX_GROWTH / 2


def test_the_log_says_who_and_why(target: Target) -> None:
    """Whether it is we who notice first or the engine."""

    def said() -> int:
        lines = [line for line in target.gateway.process.text().splitlines() if '"HTTP/2 flood"' in line]
        assert all('"peer": "127.0.0.1"' in line and '"reason": "' in line for line in lines)
        return len(lines)

    before = said()
    held_off(target, unknown_frames)
    eventually(lambda: said() > before, what="a line in the log")
