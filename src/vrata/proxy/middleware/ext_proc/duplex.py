"""A body whose answers are a body of their own: the processor makes of what it is shown what it likes, when it likes.

No answer belongs to a piece. So nothing of what was shown is kept, and there is no way back after it; how much may be
under way is up to the processor, which is shown no more while it does not read, and to whoever gets its answers.
"""

from __future__ import annotations

from vrata.proxy.middleware.ext_proc.message import NONE, Answer, MalformedAnswer, Shown
from vrata.proxy.middleware.ext_proc.passage import IS_DUPLEX, IS_OVER, MAX_HELD, Passage
from vrata.proxy.middleware.ext_proc.view import fields_of, lines_of
from vrata.wire.http1.editing import UNKNOWN_LENGTH


class Duplex(Passage):
    """Shows such a body, and passes on what comes back."""

    __slots__ = ()

    @property
    def is_irrecoverable(self) -> bool:
        """What has come cannot go on as it came: only the processor has it."""
        return self._state == IS_DUPLEX and self._has_shown

    @property
    def holds_too_much(self) -> bool:
        """More has come from the processor than goes on for now."""
        return self._back_size > MAX_HELD and not self._collects

    def processor_ready(self) -> None:
        """The processor has caught up."""
        if self._state == IS_DUPLEX and not self._owner.is_over:
            self._show_pieces()
            self._settle_pause()

    def _begin_duplex(self) -> None:
        self._state = IS_DUPLEX
        self._collects = not self.can_be_chunked()
        if not self._size:
            self.invite()
        if not self._head_is_owed:
            self._start_duplex()
        self._show_pieces()

    def _start_duplex(self) -> None:
        """The head is dealt with."""
        if not self._collects:
            self._out(b"", False, UNKNOWN_LENGTH)

    def _show_pieces(self) -> None:
        """Show what is held, as long as neither the processor nor whoever gets its answers has too much."""
        owner = self._owner
        while (
            (self._size or (self._end and not self._is_last_shown))
            and self._state == IS_DUPLEX
            and not (owner.processor_is_full or self._sink_is_full or owner.is_over)
        ):
            if not self._size and self._shows_trailers():
                self._is_last_shown = True
                shown = Shown(self.trailers_phase, fields=fields_of(lines_of(self.trailers())), end=True)
            else:
                piece = self._next_piece()
                self._has_shown = True
                self._is_last_shown = self._end and not self._size and not self._shows_trailers()
                shown = Shown(self.body_phase, body=piece, end=self._is_last_shown)
            shown.is_duplex = True
            owner.show(shown)

    def _duplex_answered(self, answer: Answer) -> None:
        if answer.phase is self.trailers_phase:
            self.edit_trailers(self._mutated_trailers(answer.mutation))
            self._back_has_ended = True
            self._pass_back()
        elif answer.phase is self.body_phase:
            if answer.body is not None and not answer.is_streamed:
                raise MalformedAnswer("a body that is not streamed, where one was asked for that is")
            self._take_back(answer)
        else:
            self._head_is_owed = False
            self._mutate(answer.mutation)
            if answer.is_last:
                self._replace_duplex(answer)
            else:
                self._start_duplex()

    def _take_back(self, answer: Answer) -> None:
        """A piece of the new body has come."""
        if answer.ends and not self._is_last_shown:
            raise MalformedAnswer("the end of a body whose end it has not seen")
        if answer.body:
            self._back.append(answer.body)
            self._back_size += len(answer.body)
        if self._collects and self._back_size > self._owner.settings.max_body:
            self.too_large()
            return
        if answer.ends:
            self._back_has_ended = True
            self._owner.waive(of_request=self.body_phase.is_of_request)
        self._pass_back()

    def _pass_back(self) -> None:
        """Let go on what has come back, where somebody takes it."""
        end = self._back_has_ended
        if not self._sink_is_full and (not self._collects or end) and (end or self._back):
            content = b"".join(self._back)
            self._back.clear()
            self._back_size = 0
            if end:
                self._state = IS_OVER
                if not self._has_started:
                    self.replaced(content)
            self._out(content, end, len(content) if self._collects else UNKNOWN_LENGTH)
        self._owner.settle_processor()

    def _replace_duplex(self, answer: Answer) -> None:
        """The answer to the head is the last."""
        self.body_mode = NONE
        self.wants_trailers = False
        body = answer.body
        if body is None and self._has_shown:
            raise MalformedAnswer("no body in place of one that it was shown already")
        self._owner.waive(of_request=self.body_phase.is_of_request)
        if body is not None:
            self._replace(body)
        else:
            self._open()
