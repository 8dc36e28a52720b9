"""A rate limit in one worker."""

from __future__ import annotations

import json

from vrata.model.middleware.rate_limit import RateLimit
from vrata.policy.token_bucket import TokenBucket
from vrata.proxy.body_gate import BodyGate
from vrata.proxy.middleware.instance import Instance, MiddlewareUnavailable
from vrata.proxy.middleware.rate_limit.announcement import Announcement
from vrata.proxy.middleware.rate_limit.key import key_of
from vrata.proxy.middleware.rate_limit.limits import FleetLimits, LocalLimits
from vrata.proxy.middleware.rate_limit.stage import FleetStage, LocalStage
from vrata.proxy.middleware.stage import Inner, Place


class RateLimitInstance(Instance):
    """One middleware; its buckets are elsewhere, and stay what they are while the middleware limits the same."""

    def __init__(self, settings: RateLimit, local: LocalLimits, fleet: FleetLimits | None, bodies: BodyGate) -> None:
        """*fleet* is where proxies limit together; None = nowhere.

        Raises :class:`ValueError` and :class:`MiddlewareUnavailable`.
        """
        if settings.store == "redis" and fleet is None:
            raise MiddlewareUnavailable(
                'rateLimit.store is "redis", and the configuration of this proxy names no sessionStore.redis'
            )
        self._settings = settings
        self._bucket = TokenBucket(settings.rate, settings.bucket_size)
        self._key = key_of(settings)
        self._local = local
        self._fleet = fleet if settings.store == "redis" else None
        self._bodies = bodies

    def __repr__(self) -> str:
        return f"<RateLimitInstance {self._bucket!r}>"

    def stage(self, place: Place, inner: Inner) -> Inner:
        """Make the stage at *place*. All places of a middleware share its buckets."""
        settings = self._settings
        key = settings.key.document() if settings.key is not None else None
        name = json.dumps([place.middleware_id, settings.rate, settings.bucket_size, key, settings.trusted_proxies])
        local = self._local.limit(name, self._bucket)
        announcement = Announcement(place.name, self._bucket, is_open=settings.response_headers)
        if self._fleet is None:
            return LocalStage(place, inner, self._key, local, announcement, self._bodies)
        fleet = self._fleet.limit(name, self._bucket)
        return FleetStage(place, inner, self._key, local, announcement, self._bodies, fleet, settings.on_store_failure)

    def close(self) -> None:
        """Nothing of it is left open."""
