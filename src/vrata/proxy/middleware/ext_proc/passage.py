"""What has come of one direction of a transaction, and how it goes on: a head, content, and perhaps trailers."""

from __future__ import annotations

from collections import deque
from typing import Final

from vrata.policy.header_mutation import HeaderMutation, settled
from vrata.proxy.middleware.ext_proc.ends import Ends
from vrata.proxy.middleware.ext_proc.flow_owner import FlowOwner
from vrata.proxy.middleware.ext_proc.message import Phase, Shown
from vrata.proxy.middleware.ext_proc.view import fields_of, lines_of
from vrata.wire.http1.editing import SAME_LENGTH, UNKNOWN_LENGTH
from vrata.wire.http1.errors import MalformedMessage
from vrata.wire.http1.fields import goes_on_in_trailers

MAX_HELD: Final = 65536
"""Bytes of content that are held while something is waited for, and what is read at once beyond them."""
MAX_UNDER_WAY: Final = 131072
"""Bytes of a streamed body that are held, or shown and not answered yet."""
MAX_PIECE: Final = 65536
"""Bytes of a streamed body in one message."""
MAX_PIECES: Final = 64
"""Pieces of a streamed body that are shown and not answered yet."""

# How far it has come.
IS_IDLE: Final = 0
IS_HEAD_SHOWN: Final = 1
IS_GATHERING: Final = 2
IS_BODY_SHOWN: Final = 3
IS_STREAMING: Final = 4
IS_OPEN: Final = 5
"""What comes goes on."""
IS_TRAILERS_SHOWN: Final = 6
IS_DUPLEX: Final = 7
"""What comes is shown, and what the processor makes of it goes on."""
IS_OVER: Final = 8
"""Everything has gone on; what still comes is dropped."""


class Passage(Ends):
    """What flows have in common, however a body is shown."""

    __slots__ = (
        "_back",
        "_back_has_ended",
        "_back_size",
        "_collects",
        "_end",
        "_has_shown",
        "_has_started",
        "_head_is_owed",
        "_held",
        "_is_last_shown",
        "_is_paused",
        "_owner",
        "_sink_is_full",
        "_size",
        "_state",
        "_unanswered",
        "_under_way",
        "body_mode",
        "body_phase",
        "trailers_phase",
        "wants_trailers",
    )

    def __init__(
        self, owner: FlowOwner, body_phase: Phase, trailers_phase: Phase, body_mode: int, wants_trailers: bool
    ) -> None:
        self._owner = owner
        self.body_phase = body_phase
        self.trailers_phase = trailers_phase
        self.body_mode = body_mode
        self.wants_trailers = wants_trailers
        self._state = IS_IDLE
        # What has come and is not passed on.
        self._held: list[bytes] = []
        self._size = 0
        self._end = False
        self._is_paused = False
        # Of a streamed body: what was shown and is not answered.
        self._unanswered: deque[bytes] = deque()
        self._under_way = 0
        self._is_last_shown = False
        # Of a body whose answers are a body of their own: what of that is not passed on.
        self._back: list[bytes] = []
        self._back_size = 0
        self._back_has_ended = False
        self._collects = False
        """All of it is held, since it must have a length."""
        self._head_is_owed = False
        self._has_shown = False
        """Content was shown that is kept nowhere."""
        # What is passed on.
        self._has_started = False
        self._sink_is_full = False

    @property
    def has_started(self) -> bool:
        """The head has gone on."""
        return self._has_started

    def _replace(self, content: bytes) -> None:
        """*content* takes the place of the whole body."""
        self._held.clear()
        self._size = 0
        if self._end:
            self._conclude(content)
            return
        self.replaced(content)
        self._end = True
        self._state = IS_OVER
        self._out(content, True, len(content))
        self.dismiss_source()

    def _open(self) -> None:
        """What is held goes on, and so does what follows."""
        self._state = IS_OPEN
        content = b"".join(self._held)
        self._held.clear()
        self._size = 0
        self._pass(content, self._end)

    def _pass(self, content: bytes, end: bool) -> None:
        self._end = end
        if not end:
            self._out(content, False, SAME_LENGTH)
        elif self._shows_trailers():
            self._out(content, False, SAME_LENGTH)
            self._show_trailers()
        else:
            self._state = IS_OVER
            self._out(content, True, SAME_LENGTH)

    def _conclude(self, content: bytes) -> None:
        """*content*, of which something has been replaced, is all or the rest of it."""
        if not self._has_started:
            self.replaced(content)
        if self._shows_trailers():
            self._out(content, False, UNKNOWN_LENGTH)
            self._show_trailers()
        else:
            self._state = IS_OVER
            # A length would leave no room for trailers.
            self._out(content, True, UNKNOWN_LENGTH if self.trailers() else len(content))

    def _out(self, content: bytes, end: bool, length: int) -> None:
        if self._has_started:
            if content or end:
                self.send(content, end)
            return
        if length != SAME_LENGTH:
            try:
                self.edit((), b"", length)
            except MalformedMessage as error:  # a head with so many lines that there is no room for another framing
                self._owner.give_up(error.reason)
                return
        self._has_started = True
        self.start(content, end)

    def _next_piece(self) -> bytes:
        held = b"".join(self._held)
        piece, rest = held[:MAX_PIECE], held[MAX_PIECE:]
        self._held = [rest] if rest else []
        self._size = len(rest)
        return piece

    def _shows_trailers(self) -> bool:
        return self.wants_trailers and self._end and self.trailers() != b""

    def _show_trailers(self) -> None:
        if not self._owner.is_over:
            self._state = IS_TRAILERS_SHOWN
            self._owner.show(Shown(self.trailers_phase, fields=fields_of(lines_of(self.trailers()))))

    def _mutated_trailers(self, mutation: HeaderMutation) -> bytes:
        lines = [line + b"\r\n" for line in lines_of(self.trailers())]
        edits = tuple(edit for edit in mutation.edits if goes_on_in_trailers(edit.name))
        present = {_name(line) for line in lines}
        change = settled(HeaderMutation(mutation.removals, edits), self._owner.settings.mutable, present)
        # Also in spellings with underscores, as of a head.
        removed = {name.replace(b"_", b"-") for name in change.removed}
        return b"".join([line for line in lines if _name(line).replace(b"_", b"-") not in removed]) + change.added

    def _mutate(self, mutation: HeaderMutation) -> None:
        if not mutation.is_empty:
            change = settled(mutation, self._owner.settings.mutable, self.present())
            self.edit(tuple(change.removed), change.added, SAME_LENGTH)

    def _hold(self, content: bytes, end: bool) -> None:
        if content:
            self._held.append(content)
            self._size += len(content)
        self._end = end

    def _settle_pause(self) -> None:
        if self._owner.is_over:
            return
        state = self._state
        if state == IS_OPEN:
            is_full = self._sink_is_full
        elif state == IS_STREAMING:
            is_full = self._size + self._under_way > MAX_UNDER_WAY or len(self._held) > MAX_PIECES
        else:
            is_full = self._size > MAX_HELD and state in (IS_IDLE, IS_HEAD_SHOWN, IS_BODY_SHOWN, IS_DUPLEX)
        if is_full == self._is_paused:
            return
        self._is_paused = is_full
        if is_full:
            self.pause_source()
        else:
            self.resume_source()


def _name(line: bytes) -> bytes:
    return line[: line.index(b":")].lower()
