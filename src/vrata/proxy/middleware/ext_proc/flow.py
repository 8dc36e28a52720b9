"""One direction of a transaction: a head, content and perhaps trailers, each shown if it is to be, and passed on.

What is not passed on yet is held, and bounded: who sends it is paused, or answered when it is a body that has to be
shown whole.
"""

from __future__ import annotations

from collections import deque
from typing import Final, Protocol

from vrata.policy.header_mutation import HeaderMutation, settled
from vrata.proxy.middleware.ext_proc.message import BUFFERED, NONE, PARTIAL, STREAMED, Answer, Phase, Shown
from vrata.proxy.middleware.ext_proc.settings import PlaceSettings
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
_IDLE: Final = 0
_HEAD_SHOWN: Final = 1
_GATHERING: Final = 2
_BODY_SHOWN: Final = 3
_STREAMING: Final = 4
_OPEN: Final = 5
"""What comes goes on."""
_TRAILERS_SHOWN: Final = 6
_OVER: Final = 7
"""Everything has gone on; what still comes is dropped."""


class FlowOwner(Protocol):
    """What a flow needs of its transaction."""

    settings: PlaceSettings

    @property
    def is_over(self) -> bool:
        """There is nothing more to do for anybody."""
        ...

    def show(self, shown: Shown) -> None:
        """Show it to the processor."""
        ...

    def waive(self, *, of_request: bool) -> None:
        """What the processor still owes of one direction is of no interest any more."""
        ...

    def give_up(self, reason: str) -> None:
        """What the processor wants cannot be done, and there is no way back; *reason* is for the log."""
        ...


class Flow:
    """What both directions have in common. Each class below says where things come from and where they go."""

    __slots__ = (
        "_end",
        "_has_started",
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
        self._state = _IDLE
        # What has come and is not passed on.
        self._held: list[bytes] = []
        self._size = 0
        self._end = False
        self._is_paused = False
        # Of a streamed body: what was shown and is not answered.
        self._unanswered: deque[bytes] = deque()
        self._under_way = 0
        self._is_last_shown = False
        # What is passed on.
        self._has_started = False
        self._sink_is_full = False

    @property
    def has_started(self) -> bool:
        """The head has gone on."""
        return self._has_started

    @property
    def is_done(self) -> bool:
        """Nothing is shown, or will be."""
        return self._state == _OVER or (self._state == _OPEN and not self.wants_trailers)

    # -- for the classes below ----------------------------------------------------------------------------------------

    def present(self) -> set[bytes]:
        """Names, in lower case, of the fields that are there."""
        raise NotImplementedError

    def edit(self, removed: tuple[bytes, ...], added: bytes, length: int) -> None:
        """Change the head, which has not gone on yet. Raises :class:`MalformedMessage`."""
        raise NotImplementedError

    def length(self) -> int:
        """Bytes of the content, as far as its head says that; else -1."""
        raise NotImplementedError

    def trailers(self) -> bytes:
        """The trailer lines, each with its CRLF; known with the end."""
        raise NotImplementedError

    def edit_trailers(self, lines: bytes) -> None:
        """The trailers are *lines* from now on."""
        raise NotImplementedError

    def start(self, content: bytes, end: bool) -> None:
        """Let the head go on, and the first of the content."""
        raise NotImplementedError

    def send(self, content: bytes, end: bool) -> None:
        """Let more of the content go on."""
        raise NotImplementedError

    def pause_source(self) -> None:
        """Take no more content for now."""
        raise NotImplementedError

    def resume_source(self) -> None:
        """Go on."""
        raise NotImplementedError

    def invite(self) -> None:
        """Nothing of the body has gone on, and it is needed."""

    def replaced(self, content: bytes) -> None:
        """*content* is the whole body now."""

    def dismiss_source(self) -> None:
        """What still comes of the content is of no use: something else takes its place."""

    def too_large(self) -> None:
        """The body is longer than may be shown whole."""
        raise NotImplementedError

    def takes_content(self) -> bool:
        """Whether the message may have any."""
        return True

    def can_be_chunked(self) -> bool:
        """Whether the length of the content may be left open."""
        return True

    # -- what comes in ------------------------------------------------------------------------------------------------

    def begin(self, shown: Shown | None, content: bytes, end: bool) -> None:
        """The head is there, and *shown* if it is to be; the content begins."""
        self._hold(content, end)
        if shown is None:
            self._body()
        else:
            self._state = _HEAD_SHOWN
            self._owner.show(shown)
        self._settle_pause()

    def take(self, content: bytes, end: bool) -> None:
        """More of the content has come."""
        state = self._state
        if state == _OVER:
            return
        if state == _OPEN:
            self._pass(content, end)
            return
        self._hold(content, end)
        if state == _GATHERING:
            self._gather()
        elif state == _STREAMING:
            self._stream()
        self._settle_pause()

    def sink_full(self) -> None:
        """Whoever gets the content does not keep up."""
        self._sink_is_full = True
        self._settle_pause()

    def sink_ready(self) -> None:
        """It has caught up."""
        self._sink_is_full = False
        if self._state == _STREAMING and not self._owner.is_over:
            self._stream()
        self._settle_pause()

    # -- what the processor says --------------------------------------------------------------------------------------

    def answered(self, answer: Answer) -> None:
        """The oldest thing that was shown is answered.

        Raises :class:`~vrata.policy.header_mutation.InvalidMutation` and, for what makes no head,
        :class:`~vrata.wire.http1.errors.MalformedMessage`.
        """
        state = self._state
        if state == _HEAD_SHOWN:
            self._mutate(answer.mutation)
            if answer.is_last:
                self.body_mode = NONE
                self.wants_trailers = False
            if answer.body is not None and self.takes_content():
                self._replace(answer.body)
            else:
                self._body()
        elif state == _BODY_SHOWN:
            self._mutate(answer.mutation)
            if answer.is_last:
                self.wants_trailers = False
            if answer.body is not None:
                self._replace(answer.body)
            else:
                self._open()
        elif state == _STREAMING:
            self._piece_answered(answer)
        elif state == _TRAILERS_SHOWN:
            self._state = _OVER
            self.edit_trailers(self._mutated_trailers(answer.mutation))
            self.send(b"", True)
        self._settle_pause()

    def release(self) -> None:
        """Nobody will answer any more: everything goes on as it came."""
        state = self._state
        self.body_mode = NONE
        self.wants_trailers = False
        if state == _TRAILERS_SHOWN:
            self._state = _OVER
            self.send(b"", True)
        elif state == _STREAMING:
            self._open_stream(b"")
        elif state not in (_IDLE, _OPEN, _OVER):
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
        elif mode == STREAMED:
            self._state = _STREAMING
            if self._size or self._end:
                self._stream()
            else:
                self._out(b"", False, UNKNOWN_LENGTH)
        else:
            self._state = _GATHERING
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
        self._state = _BODY_SHOWN
        self._owner.show(Shown(self.body_phase, body=shown, end=end and not self._shows_trailers()))

    def _replace(self, content: bytes) -> None:
        """*content* takes the place of the whole body."""
        self._held.clear()
        self._size = 0
        if self._end:
            self._conclude(content)
            return
        self.replaced(content)
        self._end = True
        self._state = _OVER
        self._out(content, True, len(content))
        self.dismiss_source()

    def _open(self) -> None:
        """What is held goes on, and so does what follows."""
        self._state = _OPEN
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
            self._state = _OVER
            self._out(content, True, SAME_LENGTH)

    def _conclude(self, content: bytes) -> None:
        """*content*, of which something has been replaced, is all or the rest of it."""
        if not self._has_started:
            self.replaced(content)
        if self._shows_trailers():
            self._out(content, False, UNKNOWN_LENGTH)
            self._show_trailers()
        else:
            self._state = _OVER
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

    # -- of a streamed body -------------------------------------------------------------------------------------------

    def _stream(self) -> None:
        """Show as much of what is held as may be under way."""
        while (
            self._under_way < MAX_UNDER_WAY
            and len(self._unanswered) < MAX_PIECES
            and not self._sink_is_full
            and not self._owner.is_over
            and self._state == _STREAMING
            and (self._size or (self._end and not self._is_last_shown))
        ):
            piece = self._next_piece()
            self._unanswered.append(piece)
            self._under_way += len(piece)
            is_last = self._end and not self._size
            self._is_last_shown = is_last
            self._owner.show(Shown(self.body_phase, body=piece, end=is_last and not self._shows_trailers()))

    def _next_piece(self) -> bytes:
        held = b"".join(self._held)
        piece, rest = held[:MAX_PIECE], held[MAX_PIECE:]
        self._held = [rest] if rest else []
        self._size = len(rest)
        return piece

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
            self._state = _OPEN
            self._out(content, False, UNKNOWN_LENGTH)

    # -- of trailers --------------------------------------------------------------------------------------------------

    def _shows_trailers(self) -> bool:
        return self.wants_trailers and self._end and self.trailers() != b""

    def _show_trailers(self) -> None:
        if not self._owner.is_over:
            self._state = _TRAILERS_SHOWN
            self._owner.show(Shown(self.trailers_phase, fields=fields_of(lines_of(self.trailers()))))

    def _mutated_trailers(self, mutation: HeaderMutation) -> bytes:
        lines = [line + b"\r\n" for line in lines_of(self.trailers())]
        edits = tuple(edit for edit in mutation.edits if goes_on_in_trailers(edit.name))
        present = {_name(line) for line in lines}
        change = settled(HeaderMutation(mutation.removals, edits), self._owner.settings.mutable, present)
        return b"".join(line for line in lines if _name(line) not in change.removed) + change.added

    # -- of both ------------------------------------------------------------------------------------------------------

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
        if state == _OPEN:
            is_full = self._sink_is_full
        elif state == _STREAMING:
            is_full = self._size + self._under_way > MAX_UNDER_WAY or len(self._held) > MAX_PIECES
        else:
            is_full = self._size > MAX_HELD and state in (_IDLE, _HEAD_SHOWN, _BODY_SHOWN)
        if is_full == self._is_paused:
            return
        self._is_paused = is_full
        if is_full:
            self.pause_source()
        else:
            self.resume_source()


def _name(line: bytes) -> bytes:
    return line[: line.index(b":")].lower()
