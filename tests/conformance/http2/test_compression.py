"""HPACK: RFC 7541 §2.3.3, §4.2, §5.1, §5.2, §6.1 and §6.3."""

from __future__ import annotations

import pytest

from tests.conformance.http2.case import Case, Client, Made, answered, assert_unharmed, cases, connection_error, sends
from tests.support import http2_frames as frames
from tests.support.http2_frames import Code, Setting

BROKEN = connection_error(Code.COMPRESSION_ERROR)


def before(prefix: bytes) -> Made:
    """A request with *prefix* before its block."""
    return lambda client: frames.headers(1, prefix + client.block(client.request_fields()), end=True)


def after(suffix: bytes) -> Made:
    """A request with *suffix* after its block."""
    return lambda client: frames.headers(1, client.block(client.request_fields()) + suffix, end=True)


def without_a_table(client: Client) -> bytes:
    """A request of an encoder that remembers nothing from now on."""
    client.encoder.header_table_size = 0
    found = client.request_frame(1)
    assert found[9:10] == b"\x20"
    return found


@cases(
    [
        Case("RFC 7541 2.3.3", "an index beyond both tables", sends(after(b"\xff\x40")), BROKEN),
        Case("RFC 7541 2.3.3", "an index of a name beyond both tables", sends(after(b"\x7f\x40\x01x")), BROKEN),
        Case("RFC 7541 2.3.3", "the first index of an empty dynamic table", sends(before(b"\xbe")), BROKEN),
        Case("RFC 7541 6.1", "index 0", sends(after(b"\x80")), BROKEN),
        Case("RFC 7541 4.2", "a size update to 0", sends(without_a_table), answered()),
        Case("RFC 7541 4.2", "two size updates", sends(before(b"\x20\x3f\xe1\x1f")), answered()),
        Case("RFC 7541 4.2", "a size update after a field", sends(after(b"\x20")), BROKEN),
        Case("RFC 7541 6.3", "a size update above what we have announced", sends(before(b"\x3f\xff\xff\x7f")), BROKEN),
        Case(
            "RFC 7541 5.1",
            "an integer without an end",
            sends(after(b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x0f")),
            BROKEN,
        ),
        Case("RFC 7541 5.1", "an integer that is cut", sends(after(b"\xff")), BROKEN),
        Case("RFC 7541 5.2", "a string longer than the block", sends(after(b"\x00\x0ashort")), BROKEN),
        Case("RFC 7541 5.2", "a string longer than anything", sends(after(b"\x00\x7f\xff\xff\xff\xff\x07x")), BROKEN),
        Case("RFC 7541 5.2", "Huffman padding of more than 7 bits", sends(after(b"\x00\x81\x1f\x82\x1f\xff")), BROKEN),
        Case("RFC 7541 5.2", "Huffman padding of zeros", sends(after(b"\x00\x01a\x81\x18")), BROKEN),
        Case("RFC 7541 5.2", "Huffman with EOS in it", sends(after(b"\x00\x01a\x84\xff\xff\xff\xff")), BROKEN),
        Case("RFC 7541 6.2.1", "a literal without a value", sends(after(b"\x40\x01a")), BROKEN),
        Case("RFC 7541 6.2.2", "a literal with an empty value", sends(after(b"\x00\x01a\x00")), answered()),
    ]
)
def test_decoding(client: Client, case: Case) -> None:
    case.run(client)


def test_the_table_lasts_from_one_head_to_the_next(client: Client) -> None:
    """RFC 7541 §2.3.2; here the second request is smaller by far than the first."""
    extra = ("x-long", "v" * 500)
    first = client.request_frame(1, extra)
    second = client.request_frame(3, extra)
    assert len(second) < 50 < len(first)
    client.send(first, second)
    for stream in (1, 3):
        assert client.await_message(stream).status == 200
    assert [seen.all("x-long") for seen in client.backend.requests] == [["v" * 500]] * 2


def test_entries_are_evicted_when_the_table_is_full(client: Client) -> None:
    """RFC 7541 §4.4: also one that is larger than the table, which empties it."""
    for number in range(20):
        assert client.exchange(2 * number + 1, (f"x-{number}", "v" * 400)).status == 200
    assert client.exchange(41, ("x-huge", "v" * 5000)).status == 200
    assert client.exchange(43, ("x-0", "v" * 400)).status == 200


@pytest.mark.parametrize("size", [0, 100, 4096])
def test_our_encoder_keeps_to_the_table_of_the_client(silent_client: Client, size: int) -> None:
    """RFC 7541 §4.2 and §4.3: after SETTINGS that lower it, the next block begins with a size update."""
    silent_client.start({Setting.HEADER_TABLE_SIZE: size})
    silent_client.decoder.max_allowed_table_size = size
    for number in range(5):
        assert silent_client.exchange(2 * number + 1).status == 200
    assert silent_client.decoder.header_table_size <= size


def test_the_table_of_the_client_may_shrink_later(client: Client) -> None:
    assert client.exchange(1).status == 200
    client.send(frames.settings({Setting.HEADER_TABLE_SIZE: 0}))
    client.round_trip()
    client.decoder.max_allowed_table_size = 0
    assert client.exchange(3).status == 200
    assert client.exchange(5).status == 200
    assert_unharmed(client)
