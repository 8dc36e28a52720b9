"""The ``cors`` middleware: answers preflight requests, and tells browsers whose pages may read a response."""

from __future__ import annotations

from typing import Final

from vrata.model.middleware.cors import Cors
from vrata.policy.cors import REPLACED, CorsPolicy, varies_by_origin
from vrata.proxy.contracts import ClientRequest, ResponseObserver
from vrata.proxy.middleware.rejection import Rejection
from vrata.proxy.middleware.stage import Inner, Place, SyncStage
from vrata.wire.http1.editing import fitted_response
from vrata.wire.http1.head import ResponseHead

NO_CONTENT: Final = 204
_VARY: Final = b"vary: Origin\r\n"


class CorsInstance:
    """One ``cors`` middleware."""

    def __init__(self, settings: Cors) -> None:
        """Raises InvalidPattern."""
        self._policy = CorsPolicy(settings)

    def __repr__(self) -> str:
        return f"<CorsInstance {self._policy}>"

    def stage(self, place: Place, inner: Inner) -> Inner:
        """Make the stage at *place*."""
        return CorsStage(place, inner, self._policy)

    def close(self) -> None:
        """Nothing is held."""


class CorsStage(SyncStage):
    """Decides by the origin that a browser names.

    An origin that is not allowed gets what is inside, preflight requests included: without our fields its pages may
    not read it.
    """

    __slots__ = ("_policy", "_preflight", "_shared")

    def __init__(self, place: Place, inner: Inner, policy: CorsPolicy) -> None:
        super().__init__(place, inner)
        self._policy = policy
        # Where every origin gets the same.
        self._shared = CorsAnswer(policy.answer_lines("")) if policy.allows_any else None
        self._preflight = _preflight_answer(policy, "") if policy.allows_any else None

    def decide(self, request: ClientRequest) -> Rejection | None:
        """Answer a preflight request; have responses to all others say what their pages may do."""
        origin = request.header("origin")
        policy = self._policy
        if origin is None or not policy.allows(origin):
            request.observed_by(VARIES)
            return None
        if request.method == "OPTIONS" and request.header("access-control-request-method") is not None:
            return self._preflight or _preflight_answer(policy, origin)
        request.observed_by(self._shared or CorsAnswer(policy.answer_lines(origin)))
        return None


def _preflight_answer(policy: CorsPolicy, origin: str) -> Rejection:
    return Rejection(NO_CONTENT, b"", policy.preflight_lines(origin) + _VARY)


class CorsAnswer(ResponseObserver):
    """Puts the answer to an allowed origin into a response."""

    __slots__ = ("_lines",)

    def __init__(self, lines: bytes) -> None:
        self._lines = lines

    def on_response(self, head: ResponseHead) -> ResponseHead:
        """The head with our fields instead of the upstream's; without either where it has as many as may be."""
        lines = self._lines
        if not varies_by_origin(head.values(b"vary")):
            lines += _VARY
        return fitted_response(head, REPLACED, lines)

    def on_response_end(self, size: int, complete: bool) -> None:
        """Nothing is left to do."""


class Varies(ResponseObserver):
    """Says of a response that another origin would get another one: caches would give this one to everybody."""

    __slots__ = ()

    def on_response(self, head: ResponseHead) -> ResponseHead:
        """The head with Vary."""
        if varies_by_origin(head.values(b"vary")):
            return head
        return fitted_response(head, (), _VARY)

    def on_response_end(self, size: int, complete: bool) -> None:
        """Nothing is left to do."""


VARIES: Final = Varies()
