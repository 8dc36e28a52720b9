"""``rateLimit``: the bucket that the request takes a token of."""

from __future__ import annotations

from vrata.model.middleware.rate_limit import RateLimit
from vrata.policy.token_bucket import TokenBucket
from vrata.proxy.contracts import BodyNeeded
from vrata.proxy.explain.circumstances import NEEDS_BODY, Circumstances
from vrata.proxy.explain.effect import Effect
from vrata.proxy.explain.entry import Document
from vrata.proxy.middleware.rate_limit.key import ADDRESS, key_of
from vrata.proxy.middleware.stage import Place


def effect(settings: RateLimit, place: Place, circumstances: Circumstances) -> Effect:
    """Find the key. Raises ValueError for a limit that the control plane would have refused."""
    TokenBucket(settings.rate, settings.bucket_size)
    details: Document = {"requestsPerSecond": settings.rate, "burst": settings.bucket_size, "store": settings.store}
    try:
        value = key_of(settings).of(circumstances.request)
    except BodyNeeded:
        counted = f"a key that {NEEDS_BODY}"
    else:
        by, text = _source(settings, value), value[1:].decode("utf-8", "replace")
        details["key"] = {"by": by, "value": text}
        counted = f"{by} {text}"
    assumption = f'"{place.name}" has a token left for the request'
    if settings.store == "redis":
        assumption += ", and the proxies a sessionStore.redis"
    return Effect(
        f"counts it under {counted}; tokens left: not known",
        details | {"tokensLeft": None},
        assumption=assumption,
        sees_response=settings.response_headers,
    )


def _source(settings: RateLimit, value: bytes) -> str:
    """Name what *value* is of."""
    key = settings.key
    if key is None or value.startswith(ADDRESS):
        return "client address"
    if key.header:
        return f"header {key.header}"
    return f"claim {key.claim}" if key.claim else key.cel
