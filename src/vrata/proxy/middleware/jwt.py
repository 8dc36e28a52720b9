"""The ``jwt`` middleware: lets in who brings a good token, and tells what is inside of the token's claims."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from hashlib import sha256
from time import time
from typing import Any, Final

import structlog

from vrata.expressions import CLAIMS, EvaluationError, Expression, compile_expression
from vrata.model.middleware.jwt import Jwt
from vrata.observability.occasions import Occasions
from vrata.policy.jwt.claims import ClaimRules, VerifiedClaims
from vrata.policy.jwt.header_text import header_text
from vrata.policy.jwt.key_set import Verdict
from vrata.policy.jwt.refusal import Fault, TokenRefused, UnknownKey
from vrata.policy.jwt.token import bearer_token, read_token
from vrata.policy.jwt.verified_tokens import VerifiedTokens
from vrata.proxy.contracts import ClientRequest
from vrata.proxy.holding import Holding
from vrata.proxy.middleware.instance import Instance
from vrata.proxy.middleware.key_sets import KeySets
from vrata.proxy.middleware.rejection import Rejection
from vrata.proxy.middleware.stage import Inner, Place, Stage
from vrata.proxy.middleware.token_keys import InlineKeys, TokenKeys

_LONGEST_KEPT: Final = 1024
"""Bytes of header lines that are kept with a token."""
_AUTHORIZATION: Final = b"authorization"

_log = structlog.get_logger("vrata.proxy.middleware")


def _rejection(fault: Fault) -> Rejection:
    """What clients are told, with a challenge as in RFC 6750 §3: one that brought nothing is told no error."""
    if fault is Fault.ASSERTION:
        return Rejection.error(403, fault.value, b'www-authenticate: Bearer error="insufficient_scope"\r\n')
    if fault is Fault.MISSING:
        return Rejection.error(401, fault.value, b"www-authenticate: Bearer\r\n")
    return Rejection.error(401, fault.value, b'www-authenticate: Bearer error="invalid_token"\r\n')


REJECTIONS: Final = {fault: _rejection(fault) for fault in Fault}
"""The answers to requests whose token is refused."""


class _ClaimsView:
    """What expressions see of a token."""

    __slots__ = ("_claims", "_now")

    def __init__(self, claims: Mapping[str, Any], now: int) -> None:
        self._claims = claims
        self._now = now

    @property
    def claims(self) -> Mapping[str, Any]:
        return self._claims

    @property
    def now(self) -> int:
        return self._now


class TokenGuard:
    """One ``jwt`` middleware: its rules, its keys, and the tokens that it has verified."""

    def __init__(
        self,
        settings: Jwt,
        keys: TokenKeys,
        clock: Callable[[], float],
        on_close: Callable[[], None] | None = None,
    ) -> None:
        """*clock* gives the seconds since 1970, by which tokens expire."""
        self.keys = keys
        self._rules = ClaimRules(settings.issuer, settings.audiences, settings.clock_skew.seconds)
        self._clock = clock
        self._on_close = on_close
        self._tokens = VerifiedTokens()
        self._keys_of_tokens = keys.current
        self._assertions = tuple([compile_expression(text, CLAIMS) for text in settings.assert_claims])
        self._headers: tuple[tuple[bytes, Expression], ...] = tuple(
            [
                (each.header.lower().encode("ascii"), compile_expression(each.expr, CLAIMS, any_result=True))
                for each in settings.claim_to_headers
            ]
        )
        expressions = [*self._assertions, *[expression for _, expression in self._headers]]
        self._is_timeless = not any("now" in expression.text for expression in expressions)
        removed = dict.fromkeys([name for name, _ in self._headers])
        if not settings.forward_jwt:
            removed[_AUTHORIZATION] = None
        self._removed = tuple(removed)
        self._refusals = Occasions()

    def __repr__(self) -> str:
        return f"<TokenGuard {self.keys!r}, {self._tokens!r}>"

    def stage(self, place: Place, inner: Inner) -> Inner:
        """Make the stage at *place*."""
        self.keys.follow(place.destinations)
        return JwtStage(place, inner, self)

    def close(self) -> None:
        """No plan uses it any more."""
        if self._on_close is not None:
            self._on_close()

    def admit(self, request: ClientRequest) -> None:
        """Look at the token of *request*, and tell what is inside what it says. Raises TokenRefused, or UnknownKey."""
        now = int(self._clock())
        verified = self._verified(bearer_token(request.head.values(_AUTHORIZATION)), now)
        lines = verified.lines
        if lines is None:
            view = _ClaimsView(verified.claims, now)
            for assertion in self._assertions:
                if not assertion.holds(view):
                    raise TokenRefused(Fault.ASSERTION, f"{assertion.text} is not true")
            lines = self._lines(view)
            if self._is_timeless and len(lines) <= _LONGEST_KEPT:
                verified.lines = lines
        if self._removed:
            request.edit(self._removed, lines)
        request.claims = verified.claims

    def refused(self, refusal: TokenRefused, middleware: str) -> Rejection:
        """The answer to a request whose token was refused; why, is for the log."""
        passed_over = self._refusals.occurred()
        if passed_over >= 0:
            reason, detail = refusal.fault.value, refusal.detail
            _log.info("token refused", middleware=middleware, reason=reason, detail=detail, passed_over=passed_over)
        return REJECTIONS[refusal.fault]

    def _verified(self, text: bytes, now: int) -> VerifiedClaims:
        keys = self.keys.current
        tokens = self._tokens
        if keys is not self._keys_of_tokens:
            tokens.clear()
            self._keys_of_tokens = keys
        digest = sha256(text).digest()
        verified = tokens.find(digest, now)
        if verified is not None:
            return verified
        token = read_token(text)
        verdict = keys.verdict(token)
        if verdict is not Verdict.SIGNED:
            named = f"alg {token.algorithm[:40]!r}, kid {(token.kid or '')[:100]!r}: {verdict.value}"
            raise UnknownKey(named) if verdict is Verdict.UNKNOWN_KEY else TokenRefused(Fault.VALIDATION, named)
        verified = self._rules.verified(token.claims, now)
        tokens.add(digest, verified, len(text))
        return verified

    def _lines(self, view: _ClaimsView) -> bytes:
        """The lines of headers that claims become. Of several for the same header the last one counts."""
        lines: dict[bytes, bytes] = {}
        for name, expression in self._headers:
            try:
                value = expression.evaluate(view)
            except EvaluationError:
                continue
            text = header_text(value)
            if text is not None:
                lines[name] = b"%s: %s\r\n" % (name, text)
        return b"".join(lines.values())


class JwtStage(Stage):
    """The middleware at one place."""

    __slots__ = ("guard",)

    def __init__(self, place: Place, inner: Inner, guard: TokenGuard) -> None:
        super().__init__(place, inner)
        self.guard = guard

    def run(self, request: ClientRequest, match: Any, content: bytes, end: bool) -> None:
        """Let *request* go on if its token is good, once the keys are there that may have signed it."""
        began = self.began(request)
        try:
            self.guard.admit(request)
        except UnknownKey as unknown:
            waiting = _Waiting(self, request, match, content, end, began)
            if self.guard.keys.wait(waiting):
                waiting.hold()
            else:
                self._reject(request, unknown, began)
        except TokenRefused as refusal:
            self._reject(request, refusal, began)
        else:
            self.pass_on(request, match, content, end, began)

    def run_again(self, request: ClientRequest, match: Any, content: bytes, end: bool, began: float) -> None:
        """Let *request* go on if its token is good by the keys that there are now."""
        try:
            self.guard.admit(request)
        except TokenRefused as refusal:
            self._reject(request, refusal, began)
        else:
            self.pass_on(request, match, content, end, began)

    def _reject(self, request: ClientRequest, refusal: TokenRefused, began: float) -> None:
        self.reject(request, self.guard.refused(refusal, self.place.name), began)


class _Waiting(Holding):
    """A request whose token names a key that is not known yet."""

    __slots__ = ("_began", "_match", "_stage")

    def __init__(
        self, stage: JwtStage, request: ClientRequest, match: Any, content: bytes, end: bool, began: float
    ) -> None:
        super().__init__(request, content, end)
        self._stage = stage
        self._match = match
        self._began = began

    def __repr__(self) -> str:
        return f"<token of {self.request!r} that waits for its key>"

    def go_on(self, content: bytes, end: bool) -> None:
        """The keys are as new as they get."""
        self._stage.run_again(self.request, self._match, content, end, self._began)

    def gone(self) -> None:
        """The client went away."""
        self._stage.guard.keys.forget(self)


def token_guard(settings: Jwt, key_sets: KeySets) -> Instance:
    """Make a ``jwt`` middleware. Keys that it has to retrieve are borrowed from *key_sets*."""
    if settings.jwks_inline:
        return TokenGuard(settings, InlineKeys(settings.jwks_inline, settings.issuer), time)
    place = settings.jwks_destination_id, settings.jwks_path, settings.jwks_retrieval_timeout.seconds
    keys = key_sets.borrow(*place, settings.issuer)
    return TokenGuard(settings, keys, time, partial(key_sets.give_back, *place))
