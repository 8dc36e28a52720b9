"""A channel on which every message is a request of HTTP, and every answer a response."""

from __future__ import annotations

from collections import deque
from typing import Final

from vrata.proxy.callout.answer import Answer as HttpAnswer
from vrata.proxy.callout.answer import CalloutFailure
from vrata.proxy.callout.call import OnAnswer
from vrata.proxy.callout.services import Cancellable, Services
from vrata.proxy.contracts import ClientRequest
from vrata.proxy.middleware.ext_proc.channel import Channel, ChannelOwner
from vrata.proxy.middleware.ext_proc.json_contract import JsonContract
from vrata.proxy.middleware.ext_proc.message import Answer, MalformedAnswer, Refusal, Shown
from vrata.proxy.middleware.ext_proc.settings import PlaceSettings

TARGET: Final = b"/process"
_FIELDS: Final = b"content-type: application/json\r\n"
_OK: Final = 200
_CONTRACT: Final = JsonContract()


class _Lane:
    """The messages of one direction: one at a time, so that they are seen, and answered, in their order."""

    __slots__ = ("_asked", "_call", "_channel", "_queue")

    def __init__(self, channel: HttpChannel) -> None:
        self._channel: HttpChannel | None = channel
        self._queue: deque[Shown] = deque()
        self._asked: Shown | None = None
        self._call: Cancellable | None = None

    def show(self, shown: Shown) -> None:
        """Send it when it is its turn."""
        self._queue.append(shown)
        if self._asked is None:
            self._send_next()

    def cancel(self) -> None:
        """Nobody wants an answer."""
        self._queue.clear()
        self._asked = None
        call, self._call = self._call, None
        if call is not None:
            call.cancel()

    def close(self) -> None:
        """Nothing will be shown any more: no transaction waits for the garbage collector, which this would lead to."""
        self.cancel()
        self._channel = None

    def _send_next(self) -> None:
        if self._queue and self._channel is not None:
            shown = self._asked = self._queue.popleft()
            self._call = self._channel.send(shown, self._on_answer)

    def _on_answer(self, outcome: HttpAnswer | CalloutFailure) -> None:
        shown, self._asked, self._call = self._asked, None, None
        channel = self._channel
        if shown is not None and channel is not None:
            self._send_next()
            channel.answered(shown, outcome)


class HttpChannel(Channel):
    """Implements :class:`Channel` by calls."""

    __slots__ = (
        "_destination_id",
        "_of_request",
        "_of_response",
        "_owner",
        "_request",
        "_services",
        "_settings",
    )

    def __init__(
        self,
        owner: ChannelOwner,
        services: Services,
        destination_id: str,
        request: ClientRequest,
        settings: PlaceSettings,
    ) -> None:
        self._owner: ChannelOwner | None = owner
        self._services = services
        self._destination_id = destination_id
        self._request = request
        self._settings = settings
        self._of_request = _Lane(self)
        self._of_response = _Lane(self)

    def __repr__(self) -> str:
        return f"<HttpChannel to {self._destination_id}>"

    @property
    def is_full(self) -> bool:
        """Never: what is answered is dealt with."""
        return False

    def show(self, shown: Shown) -> None:
        """Send it, after what was shown of the same direction before."""
        (self._of_request if shown.phase.is_of_request else self._of_response).show(shown)

    def waive(self, *, of_request: bool) -> None:
        """Drop what is under way of one direction."""
        (self._of_request if of_request else self._of_response).cancel()

    def pause(self) -> None:
        """Nothing comes that was not asked for."""

    def resume(self) -> None:
        """As above."""

    def finish(self) -> None:
        """Drop what is under way."""
        self._owner = None
        self._of_request.close()
        self._of_response.close()

    def send(self, shown: Shown, on_answer: OnAnswer) -> Cancellable:
        """Make the call for *shown*."""
        settings = self._settings
        return self._services.call(
            self._destination_id,
            b"POST",
            TARGET,
            _FIELDS,
            _CONTRACT.encode(shown, None),
            settings.phase_timeout,
            on_answer,
            request=self._request,
            max_answer=settings.max_answer,
            destination=settings.destination,
        )

    def answered(self, shown: Shown, outcome: HttpAnswer | CalloutFailure) -> None:
        """The call for *shown* has come to *outcome*."""
        owner = self._owner
        if owner is None:
            return
        if isinstance(outcome, CalloutFailure):
            self._fail(outcome.reason)
            return
        if outcome.status != _OK:
            self._fail(f"an answer with status {outcome.status}")
            return
        try:
            answer = _CONTRACT.decode(outcome.body)
        except MalformedAnswer as error:
            self._fail(f"its answer is none: {error}")
            return
        if isinstance(answer, Refusal) or (isinstance(answer, Answer) and answer.phase is shown.phase):
            owner.on_answer(shown.phase, answer)
        else:
            self._fail("an answer to what was not shown")

    def _fail(self, reason: str) -> None:
        owner = self._owner
        self.finish()
        if owner is not None:
            owner.on_failure(reason)
