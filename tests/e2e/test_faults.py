"""Faulty backends behind real workers: every answer is the right one, or visibly none, and nothing is left behind."""

from __future__ import annotations

import asyncio

from tests.support.conditions import eventually
from tests.support.fault_load import FaultLoad, destinations, routes
from tests.support.faulty_backend import DeadPorts, FaultyBackendProcess
from tests.support.gateway import Gateway, listener
from tests.support.processes import open_sockets
from vrata.net.event_loop import new_event_loop

SECONDS = 4.0


def test_a_mix_of_all_faults(gateway: Gateway, port: int) -> None:
    with FaultyBackendProcess() as faulty, FaultyBackendProcess() as healthy, DeadPorts() as dead:
        gateway.configure(
            listeners=[listener(port)],
            destinations=destinations(healthy.port, healthy.port, faulty.port, dead.refused, dead.full),
            routes=routes(),
        )
        workers = gateway.workers()
        before = {pid: open_sockets(pid) for pid in workers}
        load = FaultLoad(port, connections=60, seed=3)
        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            runner.run(load.run(SECONDS))
        assert not load.wrong, load.wrong[:3]
        assert load.outcomes["whole"] > 300
        assert len(load.outcomes) >= 5, load.outcomes
        eventually(
            lambda: all(open_sockets(pid) <= before[pid] for pid in workers), what="no connection of a worker is left"
        )
        # The connection that asks is one.
        eventually(lambda: faulty.state()["open"] == healthy.state()["open"] == 1, what="nor of a backend")
        assert faulty.state()["strange"] == healthy.state()["strange"] == []
        assert gateway.workers() == workers, "a worker has ended"
