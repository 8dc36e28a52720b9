"""The stage: a request is held back until there is a decision about it."""

from __future__ import annotations

from functools import partial
from typing import Any, Final

import structlog

from vrata.model.middleware.ext_authz import ExtAuthz
from vrata.policy import grpc_status
from vrata.proxy.callout.services import Services
from vrata.proxy.contracts import ClientRequest, Failure, FailureClass
from vrata.proxy.holding import BodyCollection, Holding
from vrata.proxy.middleware.ext_authz.copied_fields import CopiedFields
from vrata.proxy.middleware.ext_authz.decision import (
    FORBIDDEN,
    UNCHANGED,
    Asking,
    Authorizer,
    Decision,
    Deny,
    NoDecision,
    ResponseEdit,
)
from vrata.proxy.middleware.ext_authz.envoy_authorizer import EnvoyAuthorizer
from vrata.proxy.middleware.ext_authz.grpc_authorizer import MALFORMED
from vrata.proxy.middleware.ext_authz.http_authorizer import UNREACHABLE, HttpAuthorizer
from vrata.proxy.middleware.ext_authz.vrata_authorizer import VrataAuthorizer
from vrata.proxy.middleware.failure_log import FailureLog
from vrata.proxy.middleware.rejection import Rejection
from vrata.proxy.middleware.stage import Inner, Place, Stage
from vrata.wire.http1.editing import SAME_LENGTH
from vrata.wire.http1.errors import MalformedMessage

TOO_MANY: Final = Rejection.error(431, "ext_authz: too many request headers", code=grpc_status.RESOURCE_EXHAUSTED)
TOO_LARGE: Final = Rejection.error(413, "ext_authz: request body too large", code=grpc_status.RESOURCE_EXHAUSTED)

_log = structlog.get_logger("vrata.proxy.middleware")


class ExtAuthzInstance:
    """One ``extAuthz`` middleware in one worker."""

    def __init__(self, settings: ExtAuthz, services: Services) -> None:
        self._settings = settings
        self._authorizer = _authorizer(settings, services)
        self._failures = FailureLog("no authorization")

    def __repr__(self) -> str:
        return f"<ExtAuthzInstance by {self._authorizer!r}>"

    def stage(self, place: Place, inner: Inner) -> Inner:
        """Make the stage at *place*."""
        return ExtAuthzStage(place, inner, self._settings, self._authorizer, self._failures)

    def close(self) -> None:
        """There is nothing to close."""


def _authorizer(settings: ExtAuthz, services: Services) -> Authorizer:
    if settings.mode == "http":
        return HttpAuthorizer(settings, services)
    if settings.contract == "envoy":
        return EnvoyAuthorizer(settings, services)
    return VrataAuthorizer(settings, services)


class ExtAuthzStage(Stage):
    """Asks about every request, and acts on what is decided."""

    __slots__ = (
        "_fails_open",
        "_failures",
        "_includes_body",
        "_max_body",
        "authorizer",
        "copied",
        "destination",
        "unusable",
    )

    def __init__(
        self, place: Place, inner: Inner, settings: ExtAuthz, authorizer: Authorizer, failures: FailureLog
    ) -> None:
        super().__init__(place, inner)
        self.authorizer = authorizer
        self._failures = failures
        self.destination = place.destinations.get(settings.destination_id)
        self.copied = CopiedFields(settings.on_allow.copy_to_upstream)
        self._fails_open = settings.failure_mode_allow
        self._includes_body = settings.include_body
        self._max_body = settings.max_body_bytes
        self.unusable = UNREACHABLE if settings.mode == "http" else MALFORMED
        """What is said of an answer that cannot be acted on."""

    def run(self, request: ClientRequest, match: Any, content: bytes, end: bool) -> None:
        """Take *request* over."""
        if not self._includes_body:
            Check(self, request, match, content, end).start(b"")
        elif request.head.content_length > self._max_body:
            self.reject(request, TOO_LARGE, self.began(request))
        elif end or len(content) > self._max_body:
            self._ask(request, match, content, end)
        else:
            BodyCollection(request, content, self._max_body, partial(self._ask, request, match)).start()

    def _ask(self, request: ClientRequest, match: Any, content: bytes, end: bool) -> None:
        """The body is there, or longer than it may be."""
        if not end or len(content) > self._max_body:
            self.reject(request, TOO_LARGE, self.began(request))
        else:
            Check(self, request, match, content, end).start(content)

    def fails(self, request: ClientRequest, failure: NoDecision) -> Rejection | None:
        """What *request* is answered without a decision; None when it goes on all the same."""
        rejection = self.denies(request, failure)
        return None if self._fails_open else rejection

    def denies(self, request: ClientRequest, failure: NoDecision) -> Rejection:
        """What *request* is answered where a failure lets nobody in."""
        self.count_failure(request)
        self._failures.tell(self.place.name, reason=failure.reason, detail=failure.detail)
        return undecided(failure.reason)


def undecided(reason: str) -> Rejection:
    """The answer where there is no decision, for the *reason* that is said to clients."""
    return Rejection.error(FORBIDDEN, f"ext_authz: {reason}")


class Check(Holding):
    """One request until there is a decision about it."""

    __slots__ = ("_asking", "_began", "_match", "_stage")

    def __init__(self, stage: ExtAuthzStage, request: ClientRequest, match: Any, content: bytes, end: bool) -> None:
        super().__init__(request, content, end)
        self._stage = stage
        self._match = match
        self._began = stage.began(request)
        self._asking: Asking | None = None

    def __repr__(self) -> str:
        return f"<Check of {self.request!r}>"

    def start(self, body: bytes) -> None:
        """Ask, and let the authorizer see *body*."""
        self.hold()
        try:
            self._asking = self._stage.authorizer.ask(self.request, body, self._decided, self._stage.destination)
        except Exception as error:  # noqa: BLE001 - whatever it is, nobody was asked
            _log.exception("no check could be made", request=repr(self.request))
            self._decided(NoDecision("failed to create check request", str(error)))

    def go_on(self, content: bytes, end: bool) -> None:
        """The request is allowed."""
        self._stage.pass_on(self.request, self._match, content, end, self._began)

    def gone(self) -> None:
        """The client went away."""
        asking, self._asking = self._asking, None
        if asking is not None:
            asking.cancel()

    def _decided(self, decision: Decision) -> None:
        self._asking = None
        if self.is_over:
            return
        try:
            rejection = self._rejection(decision)
            if rejection is None:
                self.release()
            else:
                self.forget()
                self._stage.reject(self.request, rejection, self._began)
        except Exception:  # noqa: BLE001 - nobody else would ever answer the request
            _log.exception("a decision could not be acted on", request=repr(self.request))
            self.forget()
            self.request.fail(Failure(FailureClass.INTERNAL))

    def _rejection(self, decision: Decision) -> Rejection | None:
        """What the request is answered; None when it goes on, changed as it was decided."""
        if isinstance(decision, Deny):
            return decision.rejection
        if isinstance(decision, NoDecision):
            rejection = self._stage.fails(self.request, decision)
            if rejection is not None:
                return rejection
            decision = UNCHANGED
        copied = self._stage.copied
        removed = decision.removed
        if copied.patterns:
            self.request.withhold_trailers(copied.patterns)
            removed = (*removed, *copied.sent(self.request.head))
        if removed or decision.added or decision.query is not None:
            try:
                self.request.edit(removed, decision.added, SAME_LENGTH, decision.query)
            except MalformedMessage as error:
                # However failures are to be taken: clients choose how much they send, and so would choose to keep
                # what they say of themselves.
                if error.status == TOO_MANY.status:
                    return TOO_MANY
                return self._stage.denies(self.request, NoDecision(self._stage.unusable, error.reason))
        if decision.response is not None:
            self.request.observed_by(ResponseEdit(decision.response))
        return None
