"""X-Request-Id: a sane one is kept, else one is made."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from tests.support.request_message import FORWARDING, accepted, message
from vrata.wire.http1.head import RequestHead
from vrata.wire.http1.request_id import RequestIdSource

MADE = re.compile(rb"[0-9a-f]{32}")


def identifiers(head: RequestHead) -> list[bytes]:
    """Every X-Request-Id that goes to the upstream."""
    text = head.emit(target=head.target, authority=b"up.test", client=b"192.0.2.1", forwarding=FORWARDING)
    pairs = [line.partition(b":") for line in text.split(b"\r\n")[1:]]
    return [value.strip() for name, _, value in pairs if name.lower() == b"x-request-id"]


@pytest.mark.parametrize(
    "value",
    [b"a", b"0123456789abcdef0123456789abcdef", b"4bf92f35-77b3-4da6-a3ce-929d0e0e4736", b"!~{}:=,;\"'\\", b"x" * 128],
)
@pytest.mark.parametrize("name", [b"X-Request-Id", b"x-request-id", b"X-REQUEST-ID"])
def test_a_sane_one_is_kept(value: bytes, name: bytes) -> None:
    head = accepted(message(name + b":  " + value + b"\t", b"Y: 1"))
    assert head.request_id == value
    assert identifiers(head) == [value]
    assert head.passed == [name + b":  " + value + b"\t", b"Y: 1"]


@pytest.mark.parametrize(
    "lines",
    [
        [],
        [b"X-Request-Id:"],
        [b"X-Request-Id:  \t "],
        [b"X-Request-Id: a b"],
        [b"X-Request-Id: a\tb"],
        [b"X-Request-Id: a, b c"],
        [b"X-Request-Id: \xe4"],
        [b"X-Request-Id: a\x80"],
        [b"X-Request-Id: " + b"x" * 129],
        [b"X-Request-Id: a", b"X-Request-Id: a"],
        [b"X-Request-Id: a", b"x-request-id: b"],
        [b"X-Request-Id: a", b"X-Request-Id:"],
        [b"X-Request-Id: a", b"Connection: x-request-id"],
        [b"Connection: close, X-Request-Id", b"X-Request-Id: a", b"X-Request-Id: b"],
    ],
    ids=repr,
)
def test_any_other_is_replaced(lines: list[bytes]) -> None:
    head = accepted(message(*lines, b"Y: 1"))
    made = head.request_id
    assert MADE.fullmatch(made)
    assert head.request_id == made
    assert identifiers(head) == [made]
    assert identifiers(head) == [made], "an attempt that is repeated says the same"
    assert head.passed == [b"Y: 1"]


def test_no_two_are_equal() -> None:
    heads = [accepted(message(line=b"GET /%d HTTP/1.1" % number)) for number in range(3)]
    heads += [RequestHead.unreadable() for _ in range(2000)]
    assert len({head.request_id for head in heads}) == len(heads)
    source = RequestIdSource()
    made = [source.next() for _ in range(2000)]
    assert len(set(made)) == len(made)
    assert all(MADE.fullmatch(each) for each in made)


FORKING = """
import os
from vrata.wire.http1.head import RequestHead
def make():
    print(RequestHead.unreadable().request_id.decode(), flush=True)
make()
child = os.fork()
if child:
    os.waitpid(child, 0)
make()
os._exit(0)
"""


def test_a_forked_process_does_not_repeat_what_its_parent_makes() -> None:
    found = subprocess.run([sys.executable, "-c", FORKING], capture_output=True, check=True, timeout=60)
    made = found.stdout.split()
    assert len(made) == len(set(made)) == 3
