"""The acknowledgement against a real server."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

from structlog.testing import capture_logs

from tests.support.conditions import eventually_async
from tests.support.ports import free_port
from tests.support.sync_server import SyncServer
from vrata.observability.tasks import TaskSupervisor
from vrata.proxy.endpoint_status import DestinationStatus, EndpointStatus
from vrata.proxy.status import (
    ApplyOutcome,
    BindError,
    CertificateStatus,
    EntityProblem,
    ListenerState,
    ListenerStatus,
    ProxyStatus,
    SnapshotIdentity,
    TlsStatus,
    Verdict,
    WorkerState,
    WorkerStatus,
)
from vrata.proxy.sync.acknowledgement import REST, Acknowledger
from vrata.proxy.sync.link import ControlPlaneLink

EMPTY = ProxyStatus("0.1.0", None, None, (), ())

FULL = ProxyStatus(
    "0.1.0",
    SnapshotIdentity("s1", "first"),
    ApplyOutcome("s2", Verdict.REJECTED, 0.25, "because", (EntityProblem("route", "r", "a route", "bad"),)),
    (
        ListenerStatus(
            "l",
            "a listener",
            "0.0.0.0:3000",
            ListenerState.FAILED,
            "Address already in use",
            BindError("Address already in use", datetime(2026, 1, 1, 0, 0, 30, 999999, UTC)),
            TlsStatus(
                datetime(2026, 1, 1, 2, tzinfo=timezone(timedelta(hours=2))),
                (CertificateStatus(("a.test", "192.0.2.1"), datetime(2027, 1, 1, tzinfo=UTC), is_default=True),),
                ("tls.certificates[0]: is bad (left out)",),
            ),
        ),
    ),
    (WorkerStatus(0, 123, WorkerState.SERVING), WorkerStatus(1, 124, WorkerState.DRAINING)),
    (DestinationStatus("d", (EndpointStatus("192.0.2.1:80", active_requests=2, connections=3),)),),
)


class Proxy:
    """An acknowledger under test, with a status to change."""

    def __init__(self, url: str, interval: float = 60.0, proxy_id: str = "proxy-1") -> None:
        self.status = EMPTY
        self.changed = asyncio.Event()
        self.acknowledger = Acknowledger(
            ControlPlaneLink(url, proxy_id, "s3cret"), lambda: self.status, self.changed, interval=interval
        )

    def change(self, status: ProxyStatus) -> None:
        self.status = status
        self.changed.set()


def run(scenario: Callable[[SyncServer, TaskSupervisor], Awaitable[None]]) -> list[str]:
    async def main() -> None:
        tasks = TaskSupervisor()
        async with SyncServer() as server:
            try:
                await scenario(server, tasks)
            finally:
                await tasks.stop()

    with capture_logs() as logs:
        asyncio.run(main())
    return [entry["event"] for entry in logs]


def test_the_first_acknowledgement_comes_at_once_and_the_next_with_a_change() -> None:
    async def scenario(server: SyncServer, tasks: TaskSupervisor) -> None:
        proxy = Proxy(server.url, proxy_id="a b/c")
        tasks.start(proxy.acknowledger.run(), name="acknowledger")
        await eventually_async(lambda: len(server.acknowledgements) == 1, what="first acknowledgement")
        request = server.acknowledgements[0]
        assert (request.method, request.path) == ("PUT", "/api/v1/sync/proxies/a%20b%2Fc")
        assert request.headers["authorization"] == "Bearer s3cret"
        assert request.headers["content-type"] == "application/json"
        assert request.json() == {
            "version": "0.1.0",
            "activeSnapshot": None,
            "lastApply": None,
            "listeners": [],
            "workers": [],
            "destinations": [],
        }
        proxy.change(FULL)
        await eventually_async(lambda: len(server.acknowledgements) == 2, what="second acknowledgement")
        assert server.acknowledgements[1].json() == {
            "version": "0.1.0",
            "activeSnapshot": {"id": "s1", "name": "first"},
            "lastApply": {
                "snapshotId": "s2",
                "status": "rejected",
                "reason": "because",
                "problems": [{"kind": "route", "id": "r", "name": "a route", "reason": "bad"}],
                "seconds": 0.25,
            },
            "listeners": [
                {
                    "id": "l",
                    "name": "a listener",
                    "address": "0.0.0.0:3000",
                    "state": "failed",
                    "reason": "Address already in use",
                    "bindError": {"reason": "Address already in use", "nextAttempt": "2026-01-01T00:00:30Z"},
                    "tls": {
                        "loadedAt": "2026-01-01T00:00:00Z",
                        "certificates": [
                            {"names": ["a.test", "192.0.2.1"], "notAfter": "2027-01-01T00:00:00Z", "isDefault": True}
                        ],
                        "problems": ["tls.certificates[0]: is bad (left out)"],
                    },
                }
            ],
            "workers": [{"slot": 0, "pid": 123, "state": "serving"}, {"slot": 1, "pid": 124, "state": "draining"}],
            "destinations": [
                {"id": "d", "endpoints": [{"address": "192.0.2.1:80", "activeRequests": 2, "connections": 3}]}
            ],
        }

    assert run(scenario) == []


def test_without_a_change_it_comes_again_after_the_interval() -> None:
    async def scenario(server: SyncServer, tasks: TaskSupervisor) -> None:
        tasks.start(Proxy(server.url, interval=0.05).acknowledger.run(), name="acknowledger")
        await eventually_async(lambda: len(server.acknowledgements) == 3, what="heartbeats")

    run(scenario)


def test_many_changes_at_once_end_with_the_last_state() -> None:
    async def scenario(server: SyncServer, tasks: TaskSupervisor) -> None:
        proxy = Proxy(server.url)
        tasks.start(proxy.acknowledger.run(), name="acknowledger")
        for number in range(100):
            proxy.change(replace(EMPTY, version=str(number)))
            if number % 10 == 0:
                await asyncio.sleep(0)
        await eventually_async(
            lambda: [request.json()["version"] for request in server.acknowledgements][-1:] == ["99"], what="last state"
        )
        assert len(server.acknowledgements) < 20

    run(scenario)


def test_changes_that_do_not_end_leave_time_between_acknowledgements() -> None:
    async def scenario(server: SyncServer, tasks: TaskSupervisor) -> None:
        proxy = Proxy(server.url)

        def slowly() -> ProxyStatus:
            time.sleep(0.02)
            proxy.changed.set()
            return EMPTY

        proxy.acknowledger = Acknowledger(proxy.acknowledger._link, slowly, proxy.changed)
        loop = asyncio.get_running_loop()
        began = loop.time()
        tasks.start(proxy.acknowledger.run(), name="acknowledger")
        await eventually_async(lambda: len(server.acknowledgements) == 5, what="acknowledgements")
        assert loop.time() - began > 4 * (1 + REST) * 0.02

    run(scenario)


def test_a_refusal_is_reported_once_and_tried_again() -> None:
    async def scenario(server: SyncServer, tasks: TaskSupervisor) -> None:
        server.acknowledgement_status = 500
        tasks.start(Proxy(server.url, interval=0.02).acknowledger.run(), name="acknowledger")
        await eventually_async(lambda: len(server.acknowledgements) > 3, what="attempts")
        server.acknowledgement_status = 204
        count = len(server.acknowledgements)
        await eventually_async(lambda: len(server.acknowledgements) > count + 2, what="attempts")

    assert run(scenario) == ["the control plane takes no acknowledgement"]


def test_a_control_plane_that_is_not_there_harms_nobody() -> None:
    async def scenario(server: SyncServer, tasks: TaskSupervisor) -> None:
        proxy = Proxy(f"http://127.0.0.1:{free_port()}", interval=0.02)
        task = tasks.start(proxy.acknowledger.run(), name="acknowledger")
        await eventually_async(lambda: "failing" in repr(proxy.acknowledger), what="a failure")
        proxy.change(FULL)
        await asyncio.sleep(0.05)
        assert not task.done()

    assert run(scenario) == ["the control plane takes no acknowledgement"]
