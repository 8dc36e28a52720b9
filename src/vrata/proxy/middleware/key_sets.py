"""The key sets that a worker has from destinations, each once, whoever uses it."""

from __future__ import annotations

import asyncio
from random import random
from typing import TypeAlias

from vrata.net.deadlines import DeadlineSweeper
from vrata.policy.jwt.refresh import RefreshSchedule
from vrata.proxy.callout.services import Services
from vrata.proxy.middleware.token_keys import DestinationKeys, RemoteKeys

_Place: TypeAlias = tuple[str, str, float]


class KeySets:
    """Lends key sets to middlewares.

    One whose settings change has the keys of before at once, and none is without them because the issuer is down just
    then. One is kept for as long as somebody has it.
    """

    def __init__(self, services: Services, sweeper: DeadlineSweeper) -> None:
        self._services = services
        self._sweeper = sweeper
        self._loop = asyncio.get_running_loop()
        self._kept: dict[_Place, RemoteKeys] = {}
        self._borrowers: dict[_Place, int] = {}

    def __repr__(self) -> str:
        return f"<KeySets of {sorted(self._kept)}>"

    def borrow(self, destination_id: str, path: str, limit: float, issuer: str) -> RemoteKeys:
        """The keys at *path* of a destination, to be given back; one retrieval takes *limit* seconds at most.

        *issuer* is for the log.
        """
        place = destination_id, path, limit
        keys = self._kept.get(place)
        if keys is None:
            loop = self._loop
            source = DestinationKeys(self._services, destination_id, path, limit)
            schedule = RefreshSchedule(random)
            keys = RemoteKeys(source, self._sweeper, loop.time, loop.call_soon, schedule, issuer)
            self._kept[place] = keys
        self._borrowers[place] = self._borrowers.get(place, 0) + 1
        return keys

    def give_back(self, destination_id: str, path: str, limit: float) -> None:
        """Somebody who has borrowed these needs them no more."""
        place = destination_id, path, limit
        self._borrowers[place] -= 1
        if not self._borrowers[place]:
            del self._borrowers[place]
            self._kept.pop(place).close()
