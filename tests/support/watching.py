"""A watch under test: with stand-ins for the workers that it tells, and for the numbers that those count in."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from vrata.model.destination import Destination
from vrata.net.discovered import Discovery, DiscoveryTarget, OnFound
from vrata.observability.tasks import TaskSupervisor
from vrata.proxy import memory_file
from vrata.proxy.standing import DestinationStanding, decode
from vrata.proxy.watch.watch import Watch


def destination(id: str, *endpoints: str, **options: Any) -> Destination:  # noqa: A002 - the name of the field
    """A destination with these endpoints."""
    listed = [{"host": host, "port": int(port)} for host, _, port in (found.rpartition(":") for found in endpoints)]
    document = {"id": id, "name": id, "host": "service.test", "port": 80, "endpoints": listed, "options": options}
    return Destination.parse(document)


def often(**members: Any) -> dict[str, Any]:
    """A health check that tells after a few tenths of a second."""
    return {"path": "/health", "interval": "100ms", "timeout": "500ms", **members}


class CountedWord:
    """A number that nobody shares."""

    def __init__(self) -> None:
        self.value = 0
        self.users = 0

    def put(self, value: int) -> None:
        self.value = value

    def add(self, amount: int) -> int:
        self.value += amount
        return self.value

    def swap(self, expected: int, new: int) -> bool:
        if self.value != expected:
            return False
        self.value = new
        return True

    def leave(self) -> None:
        self.users -= 1


class ToldWorker:
    """A worker that keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[dict[str, DestinationStanding]] = []

    def judge(self, descriptor: int) -> None:
        self.told.append(decode(memory_file.read(descriptor)))

    @property
    def standings(self) -> Mapping[str, DestinationStanding]:
        return self.told[-1] if self.told else {}

    def unhealthy(self, destination_id: str) -> dict[str, str]:
        standing = self.standings.get(destination_id, DestinationStanding())
        return {name: found.unhealthy for name, found in standing.endpoints.items() if found.unhealthy}

    def ejected(self, destination_id: str) -> dict[str, str]:
        standing = self.standings.get(destination_id, DestinationStanding())
        return {name: found.ejected for name, found in standing.endpoints.items() if found.ejected}


class ToldDiscovery(Discovery):
    """Finds what the test says."""

    def __init__(self, on_found: OnFound) -> None:
        self.on_found = on_found
        self.wanted: Mapping[str, DiscoveryTarget] = {}
        self.told_trouble: dict[str, str] = {}
        self.asked: list[str] = []
        """Of which destinations trouble was asked for."""

    def watch(self, wanted: Mapping[str, DiscoveryTarget]) -> None:
        self.wanted = wanted

    def trouble(self, destination_id: str) -> str:
        self.asked.append(destination_id)
        return self.told_trouble.get(destination_id, "")


class WatchBench:
    """A watch with one worker."""

    def __init__(self) -> None:
        self.tasks = TaskSupervisor()
        self.words: dict[str, CountedWord] = {}
        self.changes = 0
        self.worker = ToldWorker()
        self.watch = Watch(self.tasks, self._word, self._on_change, self._discover)
        self.watch.publisher.attach(self.worker)

    def streak(self, destination_id: str, identifier: str, failures: int, gateway: int = 0) -> None:
        """What the workers have counted of an endpoint."""
        self.words[f"5xx {destination_id} {identifier}"].value = failures
        self.words[f"gateway {destination_id} {identifier}"].value = gateway

    def _word(self, name: str) -> CountedWord:
        word = self.words.setdefault(name, CountedWord())
        word.users += 1
        return word

    def _on_change(self) -> None:
        self.changes += 1

    def _discover(self, on_found: OnFound) -> Discovery:
        self.discovery = ToldDiscovery(on_found)
        return self.discovery


def run(scenario: Callable[[WatchBench], Awaitable[None]]) -> None:
    """Have *scenario* go on with a watch, which is stopped after it."""

    async def main() -> None:
        bench = WatchBench()
        try:
            await scenario(bench)
        finally:
            bench.watch.stop()
            await bench.tasks.stop()

    asyncio.run(main())
