"""Whether a peer floods us: frames that cost it little and us more, counted before a session acts on them.

HTTP/2 has many frames that are legal in any number (RFC 9113 §10.5). What no honest peer sends as often is bounded here
by allowances that grow with time, and with what would justify such frames. The numbers leave room for clients that do
strange things for good reasons: those of gRPC cancel by the hundred and measure the path with pings, browsers change
priorities, and naive ones renew windows for each frame.

Only the headers of frames are looked at, so that this costs next to nothing and knows nothing of either engine.
"""

from __future__ import annotations

from typing import Final

from vrata.wire.http2.contract import PREFACE

RESETS_AT_ONCE: Final = 2000
RESETS_PER_SECOND: Final = 200
"""RST_STREAM (CVE-2023-44487, rapid reset): a client that opens streams and resets them makes us, and those behind us,
begin requests without ever waiting for one. A hundred streams with a deadline of half a second are 200 in a second."""
RESETS_PER_STREAM: Final = 0.5
"""What a stream opened adds to them: whoever cancels no more than every other request may do so at any rate."""
ERRORS_AT_ONCE: Final = 200
ERRORS_PER_SECOND: Final = 10
"""Resets of ours because of what the peer did (CVE-2025-8671, MadeYouReset): the same as above by way of frames that
are wrong. No honest peer breaks a rule twice."""
PINGS_AT_ONCE: Final = 2000
PINGS_PER_SECOND: Final = 1000
"""PING (CVE-2019-9512): each is answered. Clients of gRPC send one in each round trip while much content flows, and on
a fast network that is a thousand in a second."""
SETTINGS_AT_ONCE: Final = 100
SETTINGS_PER_SECOND: Final = 20
"""SETTINGS (CVE-2019-9515): each is acted on and answered. Clients of gRPC change windows by them as they measure."""
SETTINGS_ENTRIES: Final = 32
"""Settings in one frame (CVE-2020-11080): ten are defined, and some make up others to see whether they are ignored."""
HINTS_AT_ONCE: Final = 1000
HINTS_PER_SECOND: Final = 100
HINTS_PER_STREAM: Final = 2
"""PRIORITY, PRIORITY_UPDATE (CVE-2019-9513), GOAWAY, and frames of unknown kinds, which are read and ignored. Browsers
send one or two for a stream."""
EMPTY_AT_ONCE: Final = 200
EMPTY_PER_SECOND: Final = 20
"""DATA without content that ends nothing (CVE-2019-9518): no window stops it."""
TINY: Final = 32
TINY_AT_ONCE: Final = 20000
TINY_PER_SECOND: Final = 10000
"""DATA with less than TINY bytes that ends nothing: each costs us as much as a large one. Streams of small messages, of
gRPC or WebSocket, consist of them, so this stops only what no client with anything to say would send."""
WINDOW_UPDATES_AT_ONCE: Final = 5000
WINDOW_UPDATES_PER_SECOND: Final = 2000
WINDOW_UPDATES_PER_STREAM: Final = 2
SENT_PER_WINDOW_UPDATE: Final = 32
"""WINDOW_UPDATE (CVE-2019-9511, CVE-2019-9517): a peer that renews windows byte by byte makes us send frames of a byte.
Honest ones renew them in proportion to what was sent: once for each frame and each window at the very most."""
CONTINUATIONS: Final = 16
"""Frames CONTINUATION of one head (CVE-2024-27316 and its kin): four hold a head of 64 KiB."""
LARGEST_HEAD: Final = 262144
"""Bytes of the frames of one head: the largest that a session decodes at all."""

_DATA: Final = 0
_HEADERS: Final = 1
_RST_STREAM: Final = 3
_SETTINGS: Final = 4
_PING: Final = 6
_WINDOW_UPDATE: Final = 8
_CONTINUATION: Final = 9
_LARGEST_FRAME: Final = 16384
_HEADER: Final = 9
"""Bytes of a frame's header (RFC 9113 §4.1)."""
_END_STREAM: Final = 0x1
_END_HEADERS: Final = 0x4


class Allowance:
    """So many at once, and so many per second from then on."""

    __slots__ = ("_left", "_most", "_per_second", "_since")

    def __init__(self, most: float, per_second: float) -> None:
        self._most = most
        self._per_second = per_second
        self._left = most
        self._since = 0.0

    def take(self, now: float) -> bool:
        """Take one at the time *now*, in seconds of a clock that never goes back; False when none is left."""
        left = self._left + (now - self._since) * self._per_second
        self._since = now
        if left > self._most:
            left = self._most
        if left < 1.0:
            self._left = left
            return False
        self._left = left - 1.0
        return True

    def add(self, amount: float) -> None:
        """Allow *amount* more."""
        left = self._left + amount
        self._left = self._most if left > self._most else left


class FrameGuard:
    """Counts the frames of one peer.

    *is_client*: we are. Then the peer begins without a preface, and nothing is counted of which honest servers send any
    number: they refuse streams by the thousand when they are busy, and small messages are all that some streams carry.
    """

    __slots__ = (
        "_continuations",
        "_empty",
        "_errors",
        "_head_size",
        "_hints",
        "_in_head",
        "_is_client",
        "_is_head",
        "_partial",
        "_pings",
        "_resets",
        "_settings",
        "_skip",
        "_stream",
        "_tiny",
        "_window_updates",
    )

    def __init__(self, is_client: bool = False) -> None:
        self._is_client = is_client
        self._skip = 0 if is_client else len(PREFACE)
        """Bytes of the input until the next frame begins."""
        self._partial = b""
        self._stream = 0
        self._head_size = 0
        self._is_head = False
        """The last frame is a part of a head."""
        self._in_head = False
        """More of that head has to follow in another."""
        self._continuations = 0
        self._resets = Allowance(RESETS_AT_ONCE, RESETS_PER_SECOND)
        self._errors = Allowance(ERRORS_AT_ONCE, ERRORS_PER_SECOND)
        self._pings = Allowance(PINGS_AT_ONCE, PINGS_PER_SECOND)
        self._settings = Allowance(SETTINGS_AT_ONCE, SETTINGS_PER_SECOND)
        self._hints = Allowance(HINTS_AT_ONCE, HINTS_PER_SECOND)
        self._empty = Allowance(EMPTY_AT_ONCE, EMPTY_PER_SECOND)
        self._tiny = Allowance(TINY_AT_ONCE, TINY_PER_SECOND)
        self._window_updates = Allowance(WINDOW_UPDATES_AT_ONCE, WINDOW_UPDATES_PER_SECOND)

    @property
    def head_unfinished(self) -> bool:
        """A head has begun to come, and has not come to its end: until then nothing else can come (RFC 9113 §4.3)."""
        return self._in_head or (self._is_head and self._skip > 0)

    def feed(self, data: bytes, now: float) -> str:
        """Count the frames in *data*, the next bytes of the peer, which came at the time *now* in seconds.

        Empty, or why the connection should end with ENHANCE_YOUR_CALM: one clause for the log.
        """
        size = len(data)
        position = self._skip
        if position >= size:
            self._skip = position - size
            return ""
        if self._partial:
            position = _HEADER - len(self._partial)
            header = self._partial + data[:position]
            if len(header) < _HEADER:
                self._partial = header
                return ""
            self._partial = b""
            reason = self._count(header, 0, now)
            if reason:
                return reason
            position += header[0] << 16 | header[1] << 8 | header[2]
        while position < size:
            if position + _HEADER > size:
                self._partial = data[position:]
                self._skip = 0
                return ""
            reason = self._count(data, position, now)
            if reason:
                return reason
            position += _HEADER + (data[position] << 16 | data[position + 1] << 8 | data[position + 2])
        self._skip = position - size
        return ""

    def sent(self, size: int) -> None:
        """*size* bytes were sent to the peer, which may renew windows for them."""
        self._window_updates.add(size / SENT_PER_WINDOW_UPDATE)

    def count_error(self, now: float) -> str:
        """Count a stream that we have reset because of what the peer did; as :meth:`feed`."""
        return "" if self._errors.take(now) else "too many streams that break rules"

    def _count(self, data: bytes, position: int, now: float) -> str:
        """Count the frame whose header is at *position*."""
        kind = data[position + 3]
        flags = data[position + 4]
        size = data[position] << 16 | data[position + 1] << 8 | data[position + 2]
        self._is_head = kind in (_HEADERS, _CONTINUATION)
        if self._is_head:
            self._in_head = flags & _END_HEADERS == 0
        if kind == _DATA:
            if self._is_client:
                return ""
            if size >= TINY or flags & _END_STREAM:
                return ""
            if size == 0:
                return "" if self._empty.take(now) else "too many frames without content"
            return "" if self._tiny.take(now) else "too many frames with next to no content"
        if kind == _HEADERS:
            self._count_stream(data, position)
            self._continuations = 0
            self._head_size = size
            return "" if size <= LARGEST_HEAD else "head in too large a frame"
        if kind == _CONTINUATION:
            self._continuations += 1
            self._head_size += size
            if self._continuations > CONTINUATIONS or self._head_size > LARGEST_HEAD:
                return "head in too many frames"
            return ""
        if kind == _WINDOW_UPDATE:
            return "" if self._is_client or self._window_updates.take(now) else "too many frames WINDOW_UPDATE"
        if kind == _RST_STREAM:
            return "" if self._is_client or self._resets.take(now) else "too many frames RST_STREAM"
        if kind == _PING:
            return "" if self._pings.take(now) else "too many frames PING"
        if kind == _SETTINGS:
            # What no frame may hold is for the session to say.
            if 6 * SETTINGS_ENTRIES < size <= _LARGEST_FRAME:
                return "too many settings in a frame"
            return "" if self._settings.take(now) else "too many frames SETTINGS"
        return "" if self._hints.take(now) else "too many frames without a meaning"

    def _count_stream(self, data: bytes, position: int) -> None:
        """What a stream that is opened adds to the allowances."""
        stream = (
            (data[position + 5] & 0x7F) << 24 | data[position + 6] << 16 | data[position + 7] << 8 | data[position + 8]
        )
        if stream > self._stream:
            self._stream = stream
            self._resets.add(RESETS_PER_STREAM)
            self._hints.add(HINTS_PER_STREAM)
            self._window_updates.add(WINDOW_UPDATES_PER_STREAM)
