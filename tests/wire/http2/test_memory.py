"""What a session that is idle again holds: connections are many."""

from __future__ import annotations

import ctypes
import gc

import pytest

from tests.support.session_engines import ENGINES, POST, Engine, Fields, head
from vrata.wire.http2.contract import Session, SessionLimits

LIMIT = 80_000
COUNT = 30
LARGE = b"v" * 3900
HEADS: dict[str, tuple[Fields, Fields]] = {
    "small": (POST, ((b"x-sum", b"1"),)),
    "large": ((*POST, *((b"x", LARGE) for _ in range(16))), ((b"x-sum", b"1"),)),
    "refused": (
        (*POST, *((b"x", LARGE) for _ in range(9)), *((b"cookie", LARGE) for _ in range(7)), (b"te", b"no")),
        (),
    ),
    "large trailers": (POST, tuple((b"x", LARGE) for _ in range(18))),
    "trailers that are refused": (POST, (*((b"x", LARGE) for _ in range(18)), (b"te", b"no"))),
}


class AllocatorState(ctypes.Structure):
    """mallinfo2(3) of glibc."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            "arena",
            "ordblks",
            "smblks",
            "hblks",
            "hblkhd",
            "usmblks",
            "fsmblks",
            "uordblks",
            "fordblks",
            "keepcost",
        )
    ]


def allocated() -> int:
    """Bytes that the C library has given out."""
    try:
        ask = ctypes.CDLL(None).mallinfo2
    except AttributeError:
        pytest.skip("this C library does not tell")
    ask.restype = AllocatorState
    state = ask()
    return int(state.uordblks + state.hblkhd)


def met(engine: Engine, heads: tuple[Fields, Fields]) -> Session:
    """A session whose only stream is over."""
    session = engine.ready_server(SessionLimits(header_list=LIMIT))
    for fields, end in zip(heads, (False, True), strict=True):
        if fields:
            session.receive(head(1, fields, end=end, cut=16000))
    session.reset(1, 8)
    while session.outgoing():
        pass
    assert session.streams == 0
    return session


def held_by_each(engine: Engine, heads: tuple[Fields, Fields]) -> float:
    """Bytes, on the average."""
    met(engine, heads)
    gc.collect()
    before = allocated()
    sessions = [met(engine, heads) for _ in range(COUNT)]
    gc.collect()
    after = allocated()
    return (after - before) / len(sessions)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("kind", [kind for kind in HEADS if kind != "small"])
def test_large_heads_leave_nothing_behind(engine: Engine, kind: str) -> None:
    assert held_by_each(engine, HEADS[kind]) - held_by_each(engine, HEADS["small"]) < 16384
