"""``jwt``: whether the token is good, and what its claims become."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from vrata.model.middleware.jwt import Jwt
from vrata.policy.jwt.key_set import NO_KEYS, InvalidKeySet, KeySet, Verdict, read_key_set
from vrata.policy.jwt.refusal import Fault, TokenRefused
from vrata.policy.jwt.token import Token
from vrata.policy.jwt.verification_key import ALGORITHMS
from vrata.proxy.callout.callout import ServiceDestination
from vrata.proxy.explain.circumstances import Circumstances
from vrata.proxy.explain.effect import Effect
from vrata.proxy.explain.entry import Document
from vrata.proxy.middleware.jwt import REJECTIONS, TokenGuard
from vrata.proxy.middleware.stage import Place
from vrata.proxy.middleware.token_keys import Waiter


class KeysElsewhere(KeySet):
    """Keys that are not here: of a token that may be signed with any of them it is assumed that it is."""

    def verdict(self, token: Token) -> Verdict:
        """No set can have a key for an algorithm that is none."""
        return Verdict.SIGNED if token.algorithm in ALGORITHMS else Verdict.UNKNOWN_KEY


class KnownKeys:
    """Implements ``TokenKeys`` of the stage for keys that do not change."""

    def __init__(self, keys: KeySet) -> None:
        self.current = keys

    def follow(self, destinations: Mapping[str, ServiceDestination]) -> None:
        """They come from nowhere."""

    def wait(self, waiter: Waiter) -> bool:
        """There is nothing to wait for."""
        return False

    def forget(self, waiter: Waiter) -> None:
        """Nobody waits."""


ELSEWHERE: Final = KeysElsewhere()


def effect(settings: Jwt, place: Place, circumstances: Circumstances) -> Effect:
    """Have the guard of the data path look at the token. Raises ValueError for settings that it would refuse."""
    keys, details, doubt = _keys(settings, circumstances)
    guard = TokenGuard(settings, KnownKeys(keys), lambda: circumstances.now)
    request = circumstances.request
    try:
        guard.admit(request)
    except TokenRefused as refusal:
        fault = refusal.fault
        details["refusal"] = {"reason": fault.value, "detail": _plain(refusal.detail)}
        text = fault.value if fault is Fault.MISSING else f"{fault.value}: {_plain(refusal.detail)}"
        if keys is NO_KEYS and doubt:
            text += f" ({doubt})"
        # Only what comes after the signature depends on it; all that is judged before leads to the same answer.
        depends = keys is ELSEWHERE and fault is Fault.ASSERTION
        return Effect(text, details, REJECTIONS[fault], _signed(place) if depends else "")
    assert request.claims is not None
    details["claims"] = _plain(request.claims)
    bearer = request.claims.get("sub")
    text = "accepts the token" + (f" of {_plain(bearer)}" if isinstance(bearer, str) else "")
    if keys is ELSEWHERE:
        return Effect(f"{text}, {doubt}", details, assumption=_signed(place))
    return Effect(text, details)


def _signed(place: Place) -> str:
    return f'"{place.name}" finds the signature of the token good'


def _keys(settings: Jwt, circumstances: Circumstances) -> tuple[KeySet, Document, str]:
    """The keys as far as they are known; what is to be told of them, to programs and to people."""
    if settings.jwks_inline:
        try:
            keys = read_key_set(settings.jwks_inline.encode())
        except InvalidKeySet as error:
            return NO_KEYS, {"keys": {"inline": 0, "skipped": [str(error)]}}, f"no keys: {error}"
        details: Document = {"inline": len(keys.keys)}
        if keys.skipped:
            details["skipped"] = list(keys.skipped)
        return keys, {"keys": details}, ""
    destination = settings.jwks_destination_id
    details = {"keys": {"destination": destination, "path": settings.jwks_path}}
    if destination not in circumstances.destinations:
        return NO_KEYS, details, f'no keys: destination "{destination}" does not exist'
    return ELSEWHERE, details, f'signature not known here: keys of destination "{destination}"'


def _plain(value: Any) -> Any:
    """*value* as JSON can hold it: texts of tokens may have lone surrogates."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, Mapping):
        return {_plain(name): _plain(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_plain(each) for each in value]
    return value
