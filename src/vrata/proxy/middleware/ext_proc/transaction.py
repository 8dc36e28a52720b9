"""A transaction that a processor has a say in: a request, what is inside, and its response.

It stands between the request outside and the action inside. The request goes inside once its flow lets it, and what
comes out, whoever has made it, goes through the other flow. When the processor fails, either both flows let everything
pass from then on, or the client is answered.
"""

from __future__ import annotations

from typing import Any, Final

import structlog

from vrata.policy import grpc_status
from vrata.policy.header_mutation import InvalidMutation, field_lines
from vrata.proxy.contracts import ClientRequest, Failure, FailureClass
from vrata.proxy.middleware.ext_proc.asides import Asides, keep_metadata
from vrata.proxy.middleware.ext_proc.channel import Channel, ChannelOwner
from vrata.proxy.middleware.ext_proc.message import (
    DUPLEX,
    REQUEST_HEADERS,
    Answer,
    MalformedAnswer,
    Modes,
    OwnResponse,
    Phase,
    Refusal,
    Shown,
)
from vrata.proxy.middleware.ext_proc.own_response import head_of, trailers_of
from vrata.proxy.middleware.ext_proc.processed_request import ProcessedRequest
from vrata.proxy.middleware.ext_proc.refusal import rejection_of
from vrata.proxy.middleware.ext_proc.request_flow import RequestFlow, RequestFlowOwner
from vrata.proxy.middleware.ext_proc.response_flow import ResponseFlow, ResponseFlowOwner
from vrata.proxy.middleware.ext_proc.settings import FAILED, PlaceSettings
from vrata.proxy.middleware.ext_proc.transaction_stage import TransactionStage
from vrata.proxy.middleware.ext_proc.view import shown_request
from vrata.proxy.middleware.rejection import Rejection
from vrata.wire.http1.editing import is_moderate
from vrata.wire.http1.errors import MalformedMessage
from vrata.wire.http1.head import ResponseHead

TOO_LARGE: Final = Rejection.error(413, "request body too large", code=grpc_status.RESOURCE_EXHAUSTED)

_log = structlog.get_logger("vrata.proxy.middleware")


class Transaction(ProcessedRequest, RequestFlowOwner, ResponseFlowOwner, ChannelOwner):
    """One request on its way through. Whoever makes it calls :meth:`begin` with the channel that it is the owner of."""

    __slots__ = (
        "_asides",
        "_began",
        "_channel",
        "_client_is_full",
        "_is_answered",
        "_is_over",
        "_is_paused",
        "_match",
        "_modes",
        "_passes_response",
        "_request_flow",
        "_response_flow",
        "_stage",
        "_tunnel_has_ended",
        "settings",
    )

    def __init__(
        self, stage: TransactionStage, settings: PlaceSettings, outer: ClientRequest, match: Any, began: float
    ) -> None:
        super().__init__(outer)
        self.settings = settings
        self._stage = stage
        self._match = match
        self._began = began
        self._modes: Modes = settings.modes
        self._channel: Channel | None = None
        self._is_over = False
        self._passes_response = False
        """The response goes on as it comes, without a flow."""
        self._client_is_full = False
        self._is_answered = False
        """The processor itself makes the response."""
        self._is_paused = False
        """Nothing is taken from the processor."""
        self._asides = Asides(settings) if settings.tells_more else None
        self._tunnel_has_ended = False
        # Flows lead back here, and are dropped when it is over: nothing is to wait for the garbage collector.
        self._request_flow: RequestFlow | None = RequestFlow(self, settings.modes)
        self._response_flow: ResponseFlow | None = None

    @property
    def is_over(self) -> bool:
        """There is nothing more to do for anybody."""
        return self._is_over

    def begin(self, channel: Channel, content: bytes, end: bool) -> None:
        """Begin with the request, whose body begins with *content*; the processor is reached by *channel*."""
        self._channel = channel
        self.outer.handled_by(self)
        shown = None
        if self._modes.request_headers:
            has_body = content != b"" or not end
            shown = shown_request(self.outer, self.settings.visible, not has_body, observed=False)
        assert self._request_flow is not None
        self._request_flow.begin(shown, content, end)

    # -- the processor ------------------------------------------------------------------------------------------------

    def show(self, shown: Shown) -> None:
        """Show it to the processor."""
        channel = self._channel
        if channel is None:
            return
        asides = self._asides
        if asides is not None:
            response_flow = self._response_flow
            asides.add_to(shown, self.outer, None if response_flow is None else response_flow.head)
        channel.show(shown)

    def waive(self, *, of_request: bool) -> None:
        """What the processor still owes of one direction is of no interest any more."""
        if self._channel is not None:
            self._channel.waive(of_request=of_request)

    @property
    def processor_is_full(self) -> bool:
        """The processor does not read what it is shown."""
        return self._channel is not None and self._channel.is_full

    def settle_processor(self) -> None:
        """Take no more from the processor while a flow holds too much of it, or the client of its response."""
        channel, request_flow, response_flow = self._channel, self._request_flow, self._response_flow
        if channel is None:
            return
        is_paused = (
            (self._is_answered and self._client_is_full)
            or (request_flow is not None and request_flow.holds_too_much)
            or (response_flow is not None and response_flow.holds_too_much)
        )
        if is_paused == self._is_paused:
            return
        self._is_paused = is_paused
        if is_paused:
            channel.pause()
        else:
            channel.resume()

    def on_answer(self, phase: Phase, answer: Answer | Refusal) -> None:
        """What was shown of *phase* is answered."""
        if self._is_over:
            return
        try:
            if answer.metadata and not keep_metadata(self.outer, answer.metadata, self.settings):
                self.on_failure("it has more to say of the request than is kept")
                return
            if isinstance(answer, Refusal):
                if not self.settings.disable_reject:
                    self._refuse(answer)
                    return
                answer = Answer(phase)
            self._act(answer)
            self._settle_channel()
        except MalformedAnswer as none:
            self.on_failure(f"its answer is none: {none}")
        except InvalidMutation as invalid:
            self.on_failure(f"it wants {invalid}")
        except MalformedMessage as malformed:
            if phase.is_of_request and is_moderate(field_lines(answer.mutation.edits)):
                # Clients whose own head leaves no room must not get past what is to be done to it.
                self._close()
                self.outer.fail(Failure(FailureClass.REQUEST_HEADERS_TOO_LARGE))
            else:
                self.on_failure(f"its changes make no head: {malformed.reason}")
        except Exception:  # noqa: BLE001 - one request must never take the worker down
            self._break_off()

    def on_failure(self, reason: str) -> None:
        """The processor has failed."""
        if self._is_over:
            return
        self._stage.failed(self.outer, reason)
        if self.settings.allow_on_error and not self._is_irrecoverable:
            self._let_go()
        else:
            self._answer(self.settings.failure)

    def give_up(self, reason: str) -> None:
        """What the processor wants cannot be done, and there is no way back."""
        if not self._is_over:
            self._stage.failed(self.outer, reason)
            self._answer(self.settings.failure)

    def on_done(self) -> None:
        """The processor wants to see no more."""
        if self._is_over:
            return
        if self._is_irrecoverable:
            self.give_up("it has left with a body that only it has")
        else:
            self._let_go()

    def on_ready(self) -> None:
        """The processor has caught up."""
        try:
            if self._request_flow is not None:
                self._request_flow.processor_ready()
            if self._response_flow is not None:
                self._response_flow.processor_ready()
        except Exception:  # noqa: BLE001 - as above
            self._break_off()

    def on_own_response(self, part: OwnResponse) -> None:
        """The processor answers the request itself."""
        if self._is_over:
            return
        if self.settings.disable_reject and not self._is_answered:
            self.on_done()
            return
        try:
            if part.status:
                self._begin_own_response(part)
            else:
                self._go_on_with_own_response(part)
        except InvalidMutation as invalid:
            self.on_failure(f"it wants {invalid}")
        except Exception:  # noqa: BLE001 - as above
            self._break_off()

    def _begin_own_response(self, part: OwnResponse) -> None:
        head = head_of(part)
        self._is_answered = True
        if self._request_flow is not None:
            self._request_flow.answered_otherwise()
        self._stage.answered(self.outer, part.status, self._began)
        self.begin_response(head, b"", part.end or not head.body_expected(self.head.method), b"")

    def _go_on_with_own_response(self, part: OwnResponse) -> None:
        self.go_on_with_response(part.body, part.end, trailers_of(part))

    @property
    def _is_irrecoverable(self) -> bool:
        """There is no going on without the processor."""
        request_flow, response_flow = self._request_flow, self._response_flow
        return (
            self._is_answered
            or (request_flow is not None and request_flow.is_irrecoverable)
            or (response_flow is not None and response_flow.is_irrecoverable)
        )

    def _act(self, answer: Answer) -> None:
        request_flow, response_flow = self._request_flow, self._response_flow
        if request_flow is None:
            return
        if answer.override is not None and self._may_override:
            self._modes = modes = self._modes.overridden(answer.override)
            if answer.phase is REQUEST_HEADERS:
                request_flow.body_mode = modes.request_body
                request_flow.wants_trailers = modes.request_trailers
            elif response_flow is not None:
                response_flow.override(modes)
        if answer.phase.is_of_request:
            request_flow.answered(answer)
        elif response_flow is not None:
            response_flow.answered(answer)

    @property
    def _may_override(self) -> bool:
        # Bodies that answers are not about have begun by the time that anything could be overridden, as in Envoy.
        modes = self.settings.modes
        return self.settings.allow_mode_override and DUPLEX not in (modes.request_body, modes.response_body)

    def _settle_channel(self) -> None:
        """Let the channel go as soon as nothing will be shown: a response, or a tunnel, may last for hours."""
        channel, request_flow = self._channel, self._request_flow
        if channel is None or request_flow is None or self._is_answered or not request_flow.is_done:
            return
        response_flow = self._response_flow
        if response_flow is not None:
            is_done = response_flow.is_done
        else:
            is_done = self._passes_response or not self._modes.shows_response
        if is_done:
            self._channel = None
            channel.finish()

    def _let_go(self) -> None:
        """Show nothing any more, and keep what goes wrong then from the processor's connection, where this begins."""
        try:
            self._release()
        except Exception:  # noqa: BLE001 - as above
            self._break_off()

    def _break_off(self) -> None:
        """What is being handled is a fault of ours, or of something inside."""
        _log.exception("request handling failed", request=repr(self.outer))
        self._close()
        self.outer.fail(Failure(FailureClass.INTERNAL))

    def _release(self) -> None:
        channel, self._channel = self._channel, None
        if channel is not None:
            channel.finish()
        if self._request_flow is not None:
            self._request_flow.release()
        if self._response_flow is not None:
            self._response_flow.release()

    def _refuse(self, refusal: Refusal) -> None:
        if refusal.details:
            self._stage.explained(self.outer, refusal.details)
        rejection = rejection_of(refusal)
        if rejection.is_too_large:
            self.on_failure("the headers of its rejection are too many or too long")
        else:
            self._answer(rejection)

    def _answer(self, rejection: Rejection) -> None:
        """Give the client *rejection*, or cut the response that has begun."""
        outer = self.outer
        request_flow, response_flow = self._request_flow, self._response_flow
        has_begun = self._passes_response or self._is_answered
        has_begun = has_begun or (response_flow is not None and response_flow.has_started)
        has_entered = request_flow is not None and request_flow.has_started
        self._close()
        if has_begun:
            outer.fail(Failure(FailureClass.INTERNAL, reason=FAILED))
        elif has_entered:
            self._stage.replace(outer, rejection)
        else:
            self._stage.refuse(outer, rejection, self._began)

    def _close(self) -> None:
        """Nothing that the processor, or what is inside, still says matters any more."""
        if self._finish():
            self.dismiss()

    def hold_inside(self) -> None:
        """What is inside is to send no more of the response for now."""
        if self.handler is not None:
            self.handler.pause_response()

    def let_inside_go_on(self) -> None:
        """And now it is."""
        if self.handler is not None:
            self.handler.resume_response()

    def dismiss(self) -> None:
        """What is inside has a response, or works on one, that nobody wants."""
        self.response_over(complete=False)
        handler, self.handler = self.handler, None
        if handler is not None:
            handler.on_client_gone()

    def _finish(self) -> bool:
        """The transaction is over; false when it was so already."""
        if self._is_over:
            return False
        self._is_over = True
        self._request_flow = self._response_flow = None
        channel, self._channel = self._channel, None
        if channel is not None:
            channel.finish()
        return True

    # -- what the flows let pass --------------------------------------------------------------------------------------

    def enter(self, content: bytes, end: bool) -> None:
        """The request goes inside. What fails there is no failure of the processor, whose answer has led to it."""
        try:
            self._stage.enter(self, self._match, content, end, self._began)
        except MalformedMessage:
            # What middlewares inside have added to the head was too much for it.
            self.fail(Failure(FailureClass.REQUEST_HEADERS_TOO_LARGE))
        except Exception:  # noqa: BLE001 - as above
            _log.exception("request handling failed", request=repr(self.outer))
            self.fail(Failure(FailureClass.INTERNAL))

    def too_large(self) -> None:
        """The request's body is longer than may be shown whole."""
        self._answer(TOO_LARGE)

    def begin_response(self, head: ResponseHead, content: bytes, end: bool, trailers: bytes) -> None:
        """The response goes outside."""
        if end:
            self._finish()
        self.outer.start_response(head, content, end, trailers)
        if self._tunnel_has_ended:
            self.outer.end_tunnel()

    def go_on_with_response(self, content: bytes, end: bool, trailers: bytes) -> None:
        """More of the response goes outside."""
        if end:
            self._finish()
        self.outer.send_content(content, end, trailers)

    # -- what is inside -----------------------------------------------------------------------------------------------

    def relay_response(self, head: ResponseHead, content: bytes, end: bool, trailers: bytes) -> None:
        """The response begins inside."""
        if self._is_over:
            return
        modes = self._modes
        flow = ResponseFlow(self, modes, head, self.head.method)
        if self._channel is None or not flow.is_shown(modes):
            self._passes_response = True
            self.begin_response(head, content, end, trailers)
        else:
            self._response_flow = flow
            flow.begin_response(
                content, end, trailers, shows_head=modes.response_headers, client_is_full=self._client_is_full
            )
        self._settle_channel()

    def relay_content(self, content: bytes, end: bool, trailers: bytes) -> None:
        """The response goes on inside."""
        if self._is_over:
            return
        flow = self._response_flow
        if flow is None:
            self.go_on_with_response(content, end, trailers)
        else:
            flow.take_response(content, end, trailers)
            self._settle_channel()

    def relay_failure(self, failure: Failure) -> None:
        """The response inside will not be complete: where nothing of it has gone out, there is none."""
        if self._finish():
            self.outer.fail(failure)

    def end_tunnel(self) -> None:
        """The upstream has closed its side of the tunnel."""
        flow = self._response_flow
        if flow is not None and not flow.has_started:
            self._tunnel_has_ended = True
        elif not self._is_over:
            self.outer.end_tunnel()

    def inform(self, head: ResponseHead) -> None:
        """A 1xx response."""
        if not self._is_over:
            self.outer.inform(head)

    def pause_body(self) -> None:
        """What is inside does not keep up with the request."""
        if self._request_flow is not None:
            self._request_flow.sink_full()

    def resume_body(self) -> None:
        """It has caught up."""
        if self._request_flow is not None:
            self._request_flow.sink_ready()

    # -- the client ---------------------------------------------------------------------------------------------------

    def on_request_body(self, content: bytes, end: bool) -> None:
        """More of the request's content."""
        if self._request_flow is not None:
            self._request_flow.take(content, end)
            self._settle_channel()

    def on_client_gone(self) -> None:
        """Nobody is there to answer: what is inside is told, and so is the processor."""
        self._close()

    def pause_response(self) -> None:
        """The client does not keep up."""
        self._client_is_full = True
        flow = self._response_flow
        if self._is_answered:
            self.settle_processor()
        elif flow is not None:
            flow.sink_full()
        else:
            self.hold_inside()

    def resume_response(self) -> None:
        """The client has caught up."""
        self._client_is_full = False
        flow = self._response_flow
        if self._is_answered:
            self.settle_processor()
        elif flow is not None:
            flow.sink_ready()
        else:
            self.let_inside_go_on()
