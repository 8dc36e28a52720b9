"""The ``headers`` middleware: fields added to, replaced in and removed from requests and responses."""

from __future__ import annotations

from vrata.model.middleware.headers import Headers
from vrata.policy.header_edits import HeaderEdits, compile_edits
from vrata.policy.template import REQUEST_PLACEHOLDERS, RequestValues
from vrata.proxy.contracts import ClientRequest, ResponseObserver
from vrata.proxy.middleware.rejection import Rejection
from vrata.proxy.middleware.stage import Inner, Place, SyncStage
from vrata.wire.http1.editing import fitted_response
from vrata.wire.http1.errors import MalformedMessage
from vrata.wire.http1.fields import is_settable_in_requests, is_settable_in_responses
from vrata.wire.http1.head import ResponseHead

TOO_MANY = Rejection.error(431, "too many request headers")
"""The answer to a request that has as many fields as may be before any is added."""


class HeadersInstance:
    """One ``headers`` middleware."""

    def __init__(self, settings: Headers) -> None:
        self._edits = _compiled(settings)

    def __repr__(self) -> str:
        return f"<HeadersInstance {self._edits}>"

    def stage(self, place: Place, inner: Inner) -> Inner:
        """Make the stage at *place*; settings there replace those of the middleware as a whole."""
        override = place.override.headers if place.override is not None else None
        edits = self._edits if override is None else _compiled(override)
        return HeadersStage(place, inner, *edits)

    def close(self) -> None:
        """Nothing is held."""


class HeadersStage(SyncStage):
    """Edits the request's head at once, and the response's when that begins."""

    __slots__ = ("_request", "_response")

    def __init__(
        self,
        place: Place,
        inner: Inner,
        request: HeaderEdits[RequestValues] | None,
        response: HeaderEdits[RequestValues] | None,
    ) -> None:
        super().__init__(place, inner)
        self._request = request
        self._response = response

    def decide(self, request: ClientRequest) -> Rejection | None:
        """Edit *request*, which goes on."""
        edits = self._request
        if edits is not None:
            try:
                request.edit(edits.removed, edits.lines(request))
            except MalformedMessage:
                return TOO_MANY
        if self._response is not None:
            request.observed_by(ResponseEditing(self._response, request))
        return None


class ResponseEditing(ResponseObserver):
    """Edits the head of one response. Its values may be of the request, as it is when the response begins."""

    __slots__ = ("_edits", "_request")

    def __init__(self, edits: HeaderEdits[RequestValues], request: ClientRequest) -> None:
        self._edits = edits
        self._request = request

    def on_response(self, head: ResponseHead) -> ResponseHead:
        """The head with its fields edited; an upstream that has sent as many as may be gets no more of them."""
        return fitted_response(head, self._edits.removed, self._edits.lines(self._request))

    def on_response_end(self, size: int, complete: bool) -> None:
        """Nothing is left to do."""


def _compiled(
    settings: Headers,
) -> tuple[HeaderEdits[RequestValues] | None, HeaderEdits[RequestValues] | None]:
    return (
        compile_edits(
            settings.request_headers_to_add,
            settings.request_headers_to_remove,
            REQUEST_PLACEHOLDERS,
            is_settable_in_requests,
        ),
        compile_edits(
            settings.response_headers_to_add,
            settings.response_headers_to_remove,
            REQUEST_PLACEHOLDERS,
            is_settable_in_responses,
        ),
    )
