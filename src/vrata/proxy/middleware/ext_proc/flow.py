"""One direction of a transaction: a head, content and perhaps trailers, each shown if it is to be, and passed on.

What is not passed on yet is held, and bounded: who sends it is paused, or answered when it is a body that has to be
shown whole.
"""

from __future__ import annotations

from vrata.proxy.middleware.ext_proc.duplex import Duplex
from vrata.proxy.middleware.ext_proc.message import (
    BUFFERED,
    DUPLEX,
    NONE,
    PARTIAL,
    STREAMED,
    Answer,
    MalformedAnswer,
    Shown,
)
from vrata.proxy.middleware.ext_proc.passage import (
    IS_BODY_SHOWN,
    IS_DUPLEX,
    IS_GATHERING,
    IS_HEAD_SHOWN,
    IS_IDLE,
    IS_OPEN,
    IS_OVER,
    IS_STREAMING,
    IS_TRAILERS_SHOWN,
    MAX_PIECES,
    MAX_UNDER_WAY,
)
from vrata.wire.http1.editing import UNKNOWN_LENGTH


class Flow(Duplex):
    """What both directions have in common."""

    __slots__ = ()

    @property
    def is_done(self) -> bool:
        """Nothing is shown, or will be."""
        return self._state == IS_OVER or (self._state == IS_OPEN and not self.wants_trailers)

    # -- what comes in ------------------------------------------------------------------------------------------------

    def begin(self, shown: Shown | None, content: bytes, end: bool) -> None:
        """The head is there, and *shown* if it is to be; the content begins."""
        self._hold(content, end)
        if shown is None:
            self._body()
        elif self.body_mode == DUPLEX and (content or not end):
            self._head_is_owed = shown.is_duplex = True
            self._state = IS_HEAD_SHOWN  # a processor that has left says so at once, and everything goes on then
            self._owner.show(shown)
            if self._state == IS_HEAD_SHOWN:
                self._begin_duplex()
        else:
            self._state = IS_HEAD_SHOWN
            self._owner.show(shown)
        self._settle_pause()

    def take(self, content: bytes, end: bool) -> None:
        """More of the content has come."""
        state = self._state
        if state == IS_OVER:
            return
        if state == IS_OPEN:
            self._pass(content, end)
            return
        self._hold(content, end)
        if state == IS_GATHERING:
            self._gather()
        elif state == IS_STREAMING:
            self._stream()
        elif state == IS_DUPLEX:
            self._show_pieces()
        self._settle_pause()

    def sink_full(self) -> None:
        """Whoever gets the content does not keep up."""
        self._sink_is_full = True
        self._settle_pause()

    def sink_ready(self) -> None:
        """It has caught up."""
        self._sink_is_full = False
        if not self._owner.is_over:
            if self._state == IS_STREAMING:
                self._stream()
            elif self._state == IS_DUPLEX:
                self._pass_back()
                self._show_pieces()
        self._settle_pause()

    # -- what the processor says --------------------------------------------------------------------------------------

    def answered(self, answer: Answer) -> None:
        """The oldest thing that was shown is answered.

        Raises :class:`~vrata.policy.header_mutation.InvalidMutation` and, for what makes no head,
        :class:`~vrata.wire.http1.errors.MalformedMessage`; :class:`MalformedAnswer` for what is no answer to this.
        """
        state = self._state
        if state == IS_DUPLEX:
            self._duplex_answered(answer)
            self._settle_pause()
            return
        if answer.is_streamed:
            raise MalformedAnswer("a streamed response, which was not asked for")
        if state == IS_HEAD_SHOWN:
            self._mutate(answer.mutation)
            if answer.is_last:
                self.body_mode = NONE
                self.wants_trailers = False
            if answer.body is not None and self.takes_content():
                self._replace(answer.body)
            else:
                self._body()
        elif state == IS_BODY_SHOWN:
            self._mutate(answer.mutation)
            if answer.is_last:
                self.wants_trailers = False
            if answer.body is not None:
                self._replace(answer.body)
            else:
                self._open()
        elif state == IS_STREAMING:
            self._piece_answered(answer)
        elif state == IS_TRAILERS_SHOWN:
            lines = self._mutated_trailers(answer.mutation)  # nothing is over yet where these are none
            self._state = IS_OVER
            self.edit_trailers(lines)
            self.send(b"", True)
        self._settle_pause()

    def answered_otherwise(self) -> None:
        """The processor answers in place of what is inside, which gets nothing.

        A body that it is shown without answers goes on being shown, since it may be what it answers.
        """
        if self._state == IS_DUPLEX:
            self._head_is_owed = False
            return
        self._state = IS_OVER
        self._held.clear()
        self._size = 0
        self._settle_pause()

    def release(self) -> None:
        """Nobody will answer any more: everything goes on as it came."""
        state = self._state
        self.body_mode = NONE
        self.wants_trailers = False
        if state == IS_TRAILERS_SHOWN:
            self._state = IS_OVER
            self.send(b"", True)
        elif state == IS_STREAMING:
            self._open_stream(b"")
        elif state not in (IS_IDLE, IS_OPEN, IS_OVER):
            self._open()
        self._settle_pause()

    # -- of the body --------------------------------------------------------------------------------------------------

    def _body(self) -> None:
        """The head is dealt with."""
        mode = self.body_mode
        if mode == STREAMED and not self.can_be_chunked():
            mode = self.body_mode = BUFFERED
        if mode == NONE or (self._end and not self._size):
            self._open()
        elif mode == DUPLEX:
            self._begin_duplex()
        elif mode == STREAMED:
            self._state = IS_STREAMING
            if self._size or self._end:
                self._stream()
            else:
                self._out(b"", False, UNKNOWN_LENGTH)
        else:
            self._state = IS_GATHERING
            if mode == BUFFERED and self.length() > self._owner.settings.max_body:
                self.too_large()
                return
            if not self._size:
                self.invite()
            self._gather()

    def _gather(self) -> None:
        limit = self._owner.settings.max_body
        if self._size > limit or (self._size == limit and not self._end and self.body_mode == PARTIAL):
            if self.body_mode == BUFFERED:
                self.too_large()
                return
            content = b"".join(self._held)
            self._held = [content]
            shown, end = content[:limit], False
        elif self._end:
            shown, end = b"".join(self._held), True
            self._held = [shown]
        else:
            return
        self._state = IS_BODY_SHOWN
        self._owner.show(Shown(self.body_phase, body=shown, end=end and not self._shows_trailers()))

    # -- of a streamed body -------------------------------------------------------------------------------------------

    def _stream(self) -> None:
        """Show as much of what is held as may be under way."""
        while (
            self._under_way < MAX_UNDER_WAY
            and len(self._unanswered) < MAX_PIECES
            and not self._sink_is_full
            and not self._owner.is_over
            and self._state == IS_STREAMING
            and (self._size or (self._end and not self._is_last_shown))
        ):
            piece = self._next_piece()
            self._unanswered.append(piece)
            self._under_way += len(piece)
            is_last = self._end and not self._size
            self._is_last_shown = is_last
            self._owner.show(Shown(self.body_phase, body=piece, end=is_last and not self._shows_trailers()))

    def _piece_answered(self, answer: Answer) -> None:
        if not self._unanswered:
            return
        piece = self._unanswered.popleft()
        self._under_way -= len(piece)
        content = piece if answer.body is None else answer.body
        if answer.is_last:
            self.wants_trailers = False
            self._owner.waive(of_request=self.body_phase.is_of_request)
            self._open_stream(content)
        elif self._is_last_shown and not self._unanswered:
            self._conclude(content)
        else:
            self._out(content, False, UNKNOWN_LENGTH)
            if not self._owner.is_over:
                self._stream()

    def _open_stream(self, content: bytes) -> None:
        """*content* goes on, with what was shown after it and what is held, and so does what follows."""
        content = b"".join((content, *self._unanswered, *self._held))
        self._unanswered.clear()
        self._held.clear()
        self._under_way = self._size = 0
        if self._end:
            self._conclude(content)
        else:
            self._state = IS_OPEN
            self._out(content, False, UNKNOWN_LENGTH)
