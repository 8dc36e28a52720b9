"""What is known of a name, for how long, and what that means for who asks: decisions as functions of the time.

Nothing here asks anybody. An *answer* is what a query for the addresses of one family has come to; a *lease* is what is
left of the answers, by family. Addresses outlive their time to live while nobody can say that they have changed (RFC
8767): an answer that there are none ends them at once, a failure does not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, unique

MIN_TTL, MAX_TTL = 1.0, 3600.0
"""Seconds that addresses are used without asking again, whatever their record says."""
MAX_NEGATIVE_TTL = 10.0
"""Seconds that a name is taken not to exist, whatever its zone says; the least is :data:`MIN_TTL`. Zones say an hour,
and a name that was missing for a moment would stay away for as long."""
MAX_STALE = 3600.0
"""Seconds beyond their time to live that addresses are used while nobody can be asked."""
REFRESH_FROM, REFRESH_TO = 0.8, 0.95
"""The part of the time to live after which a name in use is asked for again."""
FIRST_RETRY = 1.0
"""Seconds from a failure to the next query, doubled with each further failure; jitter takes up to half."""
MAX_RETRY = 5.0
"""The longest of those pauses while there are no addresses to use meanwhile,"""
MAX_STALE_RETRY = 30.0
"""and while there are."""


@unique
class Family(Enum):
    """A family of addresses."""

    V6 = "IPv6"
    V4 = "IPv4"


@dataclass(frozen=True, slots=True)
class Found:
    """There are addresses, and they hold for *ttl* seconds."""

    addresses: tuple[str, ...]
    ttl: float


@dataclass(frozen=True, slots=True)
class Missing:
    """There are no addresses: the name does not exist, or has none of the family."""

    reason: str
    ttl: float
    name_exists: bool = False


@dataclass(frozen=True, slots=True)
class Failed:
    """Nobody could say."""

    reason: str


Answer = Found | Missing | Failed
Answers = Mapping[Family, Answer]
"""By family, the one to try first in front."""


@unique
class Advice(Enum):
    """What to do for somebody who wants addresses now."""

    USE = "use"
    """Give what there is."""
    USE_AND_ASK = "use and ask"
    """Give what there is, and have it asked for again: the last time failed."""
    ASK_BRIEFLY = "ask briefly"
    """Ask, and give what there is if that takes too long."""
    ASK = "ask"
    """Ask, and wait for the answer."""
    REFUSE = "refuse"
    """There is nothing to give, and it is too early to ask again."""


@dataclass(frozen=True, slots=True)
class _Lease:
    """The last answer for one family that was not a failure."""

    addresses: tuple[str, ...]
    expires_at: float

    def holds(self, now: float) -> bool:
        return now < self.expires_at + MAX_STALE


class CachedName:
    """One name. Times are in seconds of any clock that does not jump, the same for all calls."""

    __slots__ = ("_leases", "failures", "reason", "refresh_at", "valid_until")

    def __init__(self) -> None:
        self._leases: dict[Family, _Lease] = {}
        self.failures = 0
        """Queries in a row that failed for a family."""
        self.reason = ""
        """Why the last query failed, or found nothing; empty otherwise."""
        self.valid_until = float("-inf")
        """Nobody has to wait for a query before."""
        self.refresh_at = float("-inf")
        """When to ask again, should the name be in use."""

    def __repr__(self) -> str:
        found = [address for lease in self._leases.values() for address in lease.addresses]
        return f"<CachedName {found}, valid until {self.valid_until:.1f}, {self.failures} failures {self.reason}>"

    def learn(self, answers: Answers, now: float, chance: float) -> None:
        """Take in what a query has come to; *chance*, from 0 to 1, spreads the next one."""
        leases: dict[Family, _Lease] = {}
        ttls, negative_ttls, reasons = [], [], []
        failed = False
        for family, answer in answers.items():
            match answer:
                case Found(addresses, ttl):
                    ttls.append(_clamped(ttl, MAX_TTL))
                    leases[family] = _Lease(addresses, now + ttls[-1])
                case Missing(reason, ttl):
                    negative_ttls.append(ttl)
                    reasons.append(reason)
                    leases[family] = _Lease((), now + _clamped(ttl, MAX_NEGATIVE_TTL))
                case Failed(reason):
                    failed = True
                    reasons.insert(0, reason)
                    if family in self._leases:
                        leases[family] = self._leases[family]
        self._leases = leases
        found = any(lease.addresses for lease in leases.values())
        self.reason = reasons[0] if reasons and (failed or not found) else ""
        # That a name has no addresses of one family is no news beside those of the other.
        longest = MAX_TTL if found else MAX_NEGATIVE_TTL
        lasts = min(ttls + [_clamped(ttl, longest) for ttl in negative_ttls], default=MIN_TTL)
        early = REFRESH_FROM + (REFRESH_TO - REFRESH_FROM) * chance if found else 1.0
        self.valid_until, self.refresh_at = now + lasts, now + lasts * early
        if not failed:
            self.failures = 0
            return
        self.failures += 1
        again_at = self._again_at(now, chance)
        if ttls or negative_ttls:
            # What one family was answered holds no longer because the other one failed.
            self.valid_until, self.refresh_at = min(self.valid_until, again_at), min(self.refresh_at, again_at)
        else:
            self.valid_until = self.refresh_at = again_at

    def _again_at(self, now: float, chance: float) -> float:
        """When to ask again after a failure."""
        addresses = self.addresses(now)
        longest = MAX_STALE_RETRY if addresses else MAX_RETRY
        pause = min(longest, FIRST_RETRY * 2.0 ** min(self.failures - 1, 16)) * (0.5 + 0.5 * chance)
        # Not beyond the moment when the last of them may not be used any more.
        return min(now + pause, self._forgotten_at()) if addresses else now + pause

    def addresses(self, now: float) -> dict[Family, tuple[str, ...]]:
        """What may be used, by family, the one to try first in front; families without any are left out."""
        return {
            family: lease.addresses for family, lease in self._leases.items() if lease.addresses and lease.holds(now)
        }

    def is_known_missing(self, now: float) -> bool:
        """Whether the last word on every family was that there are no addresses."""
        leases = [self._leases.get(family) for family in Family]
        return all(lease is not None and not lease.addresses and lease.holds(now) for lease in leases)

    def is_stale(self, now: float) -> bool:
        """Whether addresses are used beyond their time to live."""
        return any(lease.addresses and lease.expires_at <= now and lease.holds(now) for lease in self._leases.values())

    def stale_at(self) -> float:
        """When the first of the addresses expire; infinite without any."""
        return min((lease.expires_at for lease in self._leases.values() if lease.addresses), default=float("inf"))

    def advice(self, now: float) -> Advice:
        """What to do for somebody who wants the addresses."""
        usable = bool(self.addresses(now))
        if now < self.valid_until:
            return Advice.USE if usable else Advice.REFUSE
        if not usable:
            return Advice.ASK
        return Advice.USE_AND_ASK if self.failures else Advice.ASK_BRIEFLY

    def forget_at(self) -> float:
        """From when on nothing is known of the name."""
        return max(self.valid_until, self._forgotten_at())

    def _forgotten_at(self) -> float:
        return max((lease.expires_at + MAX_STALE for lease in self._leases.values()), default=float("-inf"))


def _clamped(ttl: float, most: float) -> float:
    return min(most, max(MIN_TTL, ttl))
