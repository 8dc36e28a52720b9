"""The supervisor with real worker processes, which serve with a stand-in for the data plane."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.support.conditions import eventually_async
from tests.support.ports import free_port
from tests.support.processes import is_alive
from tests.support.snapshots import snapshot
from tests.support.stand_in_data_plane import StandInDataPlane, UnbuildableDataPlane
from vrata.observability.tasks import TaskSupervisor
from vrata.proxy.endpoint_status import HealthState
from vrata.proxy.status import ListenerState, ProxyStatus, Verdict, WorkerState
from vrata.proxy.supervisor import fork_server, process
from vrata.proxy.supervisor import slot as slot_module
from vrata.proxy.supervisor import supervisor as supervisor_module
from vrata.proxy.supervisor.cache import SnapshotCache
from vrata.proxy.supervisor.document import SnapshotDocument
from vrata.proxy.supervisor.supervisor import Supervisor, SupervisorSettings
from vrata.proxy.worker import WorkerSettings

Scenario = Callable[["Bench"], Awaitable[None]]


class Bench:
    """A supervisor under test."""

    def __init__(self, settings: SupervisorSettings) -> None:
        self.tasks = TaskSupervisor()
        self.changes = 0
        self.supervisor = Supervisor(settings, self.tasks, self._on_change)
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"

    def _on_change(self) -> None:
        self.changes += 1

    @property
    def status(self) -> ProxyStatus:
        return self.supervisor.status()

    def pids(self, state: WorkerState = WorkerState.SERVING) -> list[int]:
        return [worker.pid for worker in self.status.workers if worker.state is state]

    async def serving(self, count: int = 2) -> list[int]:
        """Wait until *count* workers serve."""
        await eventually_async(
            lambda: len(self.pids()) == len(self.status.workers) == count, what=f"{count} workers serve"
        )
        return self.pids()

    async def outcome(self, snapshot_id: str, verdict: Verdict = Verdict.APPLIED) -> None:
        def is_there() -> bool:
            outcome = self.status.last_apply
            return outcome is not None and (outcome.snapshot_id, outcome.verdict) == (snapshot_id, verdict)

        await eventually_async(is_there, what=f"{snapshot_id} {verdict}, but {self.status.last_apply}")

    async def apply(self, snapshot_id: str, *, mark: str = "", **entities: Any) -> None:
        entities.setdefault("listeners", [self.address])
        self.supervisor.submit(snapshot(snapshot_id, mark=mark, **entities))
        await self.outcome(snapshot_id)

    async def get(self, path: str = "/", port: int = 0) -> tuple[int, str]:
        """Ask over HTTP who serves, and with which snapshot."""
        return await (await self.begin(path, port))

    async def begin(self, path: str = "/slow", port: int = 0) -> Awaitable[tuple[int, str]]:
        """:meth:`get` in two steps: the first ends when a worker has begun to answer."""
        reader, writer = await asyncio.open_connection("127.0.0.1", port or self.port)
        try:
            writer.write(f"GET {path} HTTP/1.1\r\n\r\n".encode())
            await reader.readuntil(b"\r\n\r\n")
        except BaseException:
            writer.close()
            raise

        async def rest() -> tuple[int, str]:
            try:
                body = await reader.read()
            finally:
                writer.close()
                await writer.wait_closed()
            pid, _, snapshot_id = body.decode().partition(" ")
            return int(pid), snapshot_id

        return rest()


@pytest.fixture(scope="module", autouse=True)
def _forked_workers() -> None:
    """Workers that import nothing, as in a real proxy."""
    fork_server.start(["vrata.proxy.worker", "tests.support.stand_in_data_plane"])


def marked(*marks: str) -> list[dict[str, str]]:
    return [{"id": mark, "name": mark} for mark in marks]


def run(tmp_path: Path, scenario: Scenario, *, workers: int = 2, data_plane: Any = StandInDataPlane) -> None:
    worker = WorkerSettings(slot=0, data_plane=data_plane, drain_timeout=30.0, log_level="error")
    settings = SupervisorSettings(workers=workers, worker=worker, state_path=tmp_path)

    async def main() -> None:
        bench = Bench(settings)
        try:
            bench.supervisor.start()
            await scenario(bench)
        finally:
            pids = [worker.pid for worker in bench.status.workers]
            await bench.supervisor.drain(0.5)
            await bench.tasks.stop()
            assert not any(is_alive(pid) for pid in pids)

    with capture_logs():
        asyncio.run(main())


def test_without_a_snapshot_workers_wait_and_nothing_listens(tmp_path: Path) -> None:
    async def scenario(bench: Bench) -> None:
        await bench.serving()
        assert bench.status.active_snapshot is None
        assert bench.status.last_apply is None
        assert bench.status.listeners == ()
        with pytest.raises(ConnectionRefusedError):
            await bench.get()

    run(tmp_path, scenario)


def test_a_snapshot_is_served_by_every_worker_and_kept_on_disk(tmp_path: Path) -> None:
    async def scenario(bench: Bench) -> None:
        pids = await bench.serving()
        await bench.apply("s1")
        seen = {(await bench.get()) for _ in range(40)}
        assert seen == {(pid, "s1") for pid in pids}
        status = bench.status
        assert status.active_snapshot is not None
        assert status.active_snapshot.id == "s1"
        assert [(found.address, found.state) for found in status.listeners] == [
            (bench.address, ListenerState.LISTENING)
        ]
        await eventually_async((tmp_path / "snapshot.json").exists, what="cache file")
        assert bench.changes

    run(tmp_path, scenario)


def test_the_cached_snapshot_is_served_at_once(tmp_path: Path) -> None:
    document = SnapshotDocument.read(snapshot("cached", listeners=[f"127.0.0.1:{free_port()}"]))
    SnapshotCache(tmp_path).store(document)

    async def scenario(bench: Bench) -> None:
        await bench.outcome("cached")
        _, port = document.listeners[0].address.split(":")
        assert (await bench.get(port=int(port)))[1] == "cached"

    run(tmp_path, scenario)
    document.close()


def test_a_damaged_cache_is_ignored(tmp_path: Path) -> None:
    (tmp_path / "snapshot.json").write_bytes(b'{"id": "s1", "na')

    async def scenario(bench: Bench) -> None:
        await bench.serving()
        assert bench.status.active_snapshot is None
        await bench.apply("s1")

    run(tmp_path, scenario)


def test_a_rejected_snapshot_leaves_the_last_good_one(tmp_path: Path) -> None:
    async def scenario(bench: Bench) -> None:
        other = free_port()
        await bench.serving()
        await bench.apply("good")
        pids = set(bench.pids())
        bench.supervisor.submit(
            snapshot("bad", listeners=[bench.address, f"127.0.0.1:{other}"], middlewares=marked("reject"))
        )
        await bench.outcome("bad", Verdict.REJECTED)
        outcome = bench.status.last_apply
        assert outcome is not None
        assert outcome.reason == "this document is to be rejected"
        assert bench.status.active_snapshot is not None
        assert bench.status.active_snapshot.id == "good"
        assert (await bench.get())[1] == "good"
        with pytest.raises(ConnectionRefusedError):
            await bench.get(port=other)
        # The addresses of the rejected one can be used by the next.
        await bench.apply("better", listeners=[bench.address, f"127.0.0.1:{other}"])
        assert (await bench.get(port=other))[1] == "better"
        assert set(bench.pids()) == pids
        cache = tmp_path / "snapshot.json"
        await eventually_async(lambda: cache.read_bytes().startswith(b'{"id": "better"'), what="on disk")

    run(tmp_path, scenario)


def test_a_malformed_snapshot_is_rejected_with_the_reason(tmp_path: Path) -> None:
    async def scenario(bench: Bench) -> None:
        await bench.serving()
        bench.supervisor.submit(b'{"id":"odd","name":"odd","snapshot":[]}')
        await bench.outcome("odd", Verdict.REJECTED)
        assert bench.status.last_apply is not None
        assert bench.status.last_apply.reason == "snapshot: must be an object"

    run(tmp_path, scenario)


def test_the_same_snapshot_again_is_acknowledged_but_not_applied(tmp_path: Path) -> None:
    async def scenario(bench: Bench) -> None:
        await bench.serving()
        await bench.apply("s1")
        edition = bench.supervisor.edition
        changes = bench.changes
        bench.supervisor.submit(snapshot("s1", listeners=[bench.address]))
        await eventually_async(lambda: bench.changes > changes, what="acknowledged")
        assert bench.supervisor.edition is edition
        # Going back to it after a rejected one says so.
        bench.supervisor.submit(b'{"id":"odd","name":"odd"}')
        await bench.outcome("odd", Verdict.REJECTED)
        await bench.apply("s1")
        assert bench.supervisor.edition is edition
        # The same id with other content is another snapshot.
        await bench.apply("s1", mark="changed", middlewares=marked("x"))
        await eventually_async(lambda: bench.supervisor.edition is not edition, what="applied")

    run(tmp_path, scenario)


def test_of_many_waiting_snapshots_only_the_newest_is_applied(tmp_path: Path) -> None:
    async def scenario(bench: Bench) -> None:
        await bench.serving()
        await bench.apply("s0")
        first = bench.supervisor.edition.number
        bench.supervisor.submit(snapshot("slow", listeners=[bench.address], middlewares=marked("slow")))
        await asyncio.sleep(0)
        for number in range(1, 50):
            bench.supervisor.submit(snapshot(f"s{number}", listeners=[bench.address]))
        await bench.outcome("s49")
        assert bench.supervisor.edition.number <= first + 2
        assert {(await bench.get())[1] for _ in range(20)} == {"s49"}

    run(tmp_path, scenario)


def test_a_killed_worker_is_replaced_and_takes_over_its_queue(tmp_path: Path) -> None:
    async def scenario(bench: Bench) -> None:
        (pid,) = await bench.serving(1)
        await bench.apply("s1")
        os.kill(pid, signal.SIGSTOP)  # so that connections can only queue
        queued = [asyncio.ensure_future(bench.get()) for _ in range(20)]  # noqa: TID251 - gathered below
        await asyncio.sleep(0.05)
        os.kill(pid, signal.SIGKILL)
        answers = await asyncio.gather(*queued)
        assert {snapshot_id for _, snapshot_id in answers} == {"s1"}
        assert {answer_pid for answer_pid, _ in answers} == set(await bench.serving(1)) != {pid}

    run(tmp_path, scenario, workers=1)


def test_the_other_workers_do_not_notice(tmp_path: Path) -> None:
    async def scenario(bench: Bench) -> None:
        victim, other = await bench.serving()
        await bench.apply("s1")
        os.kill(victim, signal.SIGKILL)
        await eventually_async(lambda: victim not in bench.pids(), what="death noticed")
        assert other in await bench.serving()

    run(tmp_path, scenario)


def test_a_worker_that_dies_while_a_snapshot_is_applied_gets_it_later(tmp_path: Path) -> None:
    async def scenario(bench: Bench) -> None:
        victim, _ = await bench.serving()
        await bench.apply("s1")
        bench.supervisor.submit(snapshot("s2", listeners=[bench.address], middlewares=marked("slow")))
        await asyncio.sleep(0.1)
        os.kill(victim, signal.SIGKILL)
        await bench.outcome("s2")
        await bench.serving()
        assert {(await bench.get())[1] for _ in range(20)} == {"s2"}

    run(tmp_path, scenario)


def test_a_snapshot_that_kills_every_worker_is_rejected(tmp_path: Path) -> None:
    async def scenario(bench: Bench) -> None:
        await bench.serving()
        await bench.apply("good")
        bench.supervisor.submit(snapshot("deadly", listeners=[bench.address], middlewares=marked("die")))
        await bench.outcome("deadly", Verdict.REJECTED)
        assert bench.status.last_apply is not None
        assert "died" in bench.status.last_apply.reason
        await bench.serving()
        assert {(await bench.get())[1] for _ in range(20)} == {"good"}

    run(tmp_path, scenario)


def test_a_worker_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "APPLY_TIMEOUT", 1.0)

    async def scenario(bench: Bench) -> None:
        await bench.serving()
        await bench.apply("good")
        bench.supervisor.submit(snapshot("endless", listeners=[bench.address], middlewares=marked("hang")))
        await bench.outcome("endless", Verdict.REJECTED)
        await bench.serving()
        assert (await bench.get())[1] == "good"

    run(tmp_path, scenario)


def test_workers_that_cannot_start_are_tried_again_ever_more_slowly(tmp_path: Path) -> None:
    async def scenario(bench: Bench) -> None:
        with capture_logs() as logs:
            await eventually_async(
                lambda: [entry["restart_in"] for entry in logs if "restart_in" in entry][:3] == [0.0, 0.1, 0.2],
                what="growing delays",
            )

    run(tmp_path, scenario, workers=1, data_plane=UnbuildableDataPlane)


def test_a_port_in_use_is_reported_and_taken_when_it_is_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor_module, "FIRST_BIND_RETRY", 0.05)
    monkeypatch.setattr(supervisor_module, "MAX_BIND_RETRY", 0.2)

    async def scenario(bench: Bench) -> None:
        def attempts() -> set[datetime | None]:
            return {found.bind_error.next_attempt for found in bench.status.listeners if found.bind_error is not None}

        taken = free_port()
        with socket.create_server(("127.0.0.1", taken), reuse_port=True):
            await bench.serving()
            await bench.apply("s1", listeners=[bench.address, f"127.0.0.1:{taken}"])
            states = {found.address: (found.state, found.reason) for found in bench.status.listeners}
            assert states == {
                bench.address: (ListenerState.LISTENING, ""),
                f"127.0.0.1:{taken}": (ListenerState.FAILED, "Address already in use"),
            }
            assert (await bench.get())[1] == "s1"
            (error,) = [found.bind_error for found in bench.status.listeners if found.bind_error is not None]
            assert error.reason == "Address already in use"
            assert error.next_attempt is not None
            assert error.next_attempt - datetime.now(UTC) < timedelta(seconds=0.2)
            # However long it takes.
            bench.supervisor._bind_retries = 5000
            first = attempts()
            await eventually_async(lambda: not attempts() & {None, *first}, what="tried again")
            second, changes = attempts(), bench.changes
            await eventually_async(lambda: not attempts() & {None, *second}, what="and again")
            assert bench.changes > changes
        await eventually_async(
            lambda: {found.state for found in bench.status.listeners} == {ListenerState.LISTENING}, what="bound"
        )
        assert attempts() == set()
        assert (await bench.get(port=taken))[1] == "s1"

    run(tmp_path, scenario)


def test_listeners_come_and_go_while_the_others_stay(tmp_path: Path) -> None:
    async def scenario(bench: Bench) -> None:
        others = [free_port() for _ in range(2)]
        await bench.serving()
        await bench.apply("s1", listeners=[bench.address, f"127.0.0.1:{others[0]}"])
        kept = next(bound for bound in bench.supervisor.bound if bound.address == bench.address)
        await bench.apply("s2", listeners=[bench.address, f"127.0.0.1:{others[1]}"])
        assert kept in bench.supervisor.bound
        assert (await bench.get())[1] == "s2"
        assert (await bench.get(port=others[1]))[1] == "s2"
        with pytest.raises(ConnectionRefusedError):
            await bench.get(port=others[0])
        # From one address of a port to another, and back to one that was dropped.
        await bench.apply("s3", listeners=[f"0.0.0.0:{bench.port}"])
        assert (await bench.get())[1] == "s3"
        await bench.apply("s4", listeners=[bench.address, f"127.0.0.1:{others[0]}"])
        assert (await bench.get(port=others[0]))[1] == "s4"

    run(tmp_path, scenario)


def test_a_listener_that_the_data_plane_leaves_out_is_not_bound(tmp_path: Path) -> None:
    async def scenario(bench: Bench) -> None:
        await bench.serving()
        await bench.apply("s1", middlewares=marked("leave out listeners"))
        assert [(found.state, found.reason) for found in bench.status.listeners] == [(ListenerState.FAILED, "left out")]
        with pytest.raises(ConnectionRefusedError):
            await bench.get()
        await bench.apply("s2")
        assert (await bench.get())[1] == "s2"

    run(tmp_path, scenario)


def test_the_death_of_the_fork_server_harms_no_worker(tmp_path: Path) -> None:
    async def scenario(bench: Bench) -> None:
        before = await bench.serving()
        await bench.apply("s1")
        pid = forkserver._forkserver._forkserver_pid  # type: ignore[attr-defined]
        os.kill(pid, signal.SIGKILL)
        await eventually_async(lambda: not is_alive(pid), what="dead")
        assert {(await bench.get())[0] for _ in range(20)} == set(before)
        assert bench.pids() == before
        # Another one is started when it is needed.
        os.kill(before[0], signal.SIGKILL)
        await eventually_async(lambda: before[0] not in bench.pids(), what="death noticed")
        after = await bench.serving()
        assert before[1] in after
        assert {(await bench.get())[0] for _ in range(40)} == set(after)

    run(tmp_path, scenario)


def test_rolling_replacement_loses_no_request(tmp_path: Path) -> None:
    async def scenario(bench: Bench) -> None:
        before = set(await bench.serving())
        await bench.apply("s1")
        slow = [await bench.begin() for _ in range(4)]
        answered: list[tuple[int, str]] = []
        done = asyncio.Event()

        async def client() -> None:
            while not done.is_set():
                answered.append(await bench.get())

        clients = asyncio.gather(*(client() for _ in range(4)))
        await bench.supervisor.replace_workers(30.0)
        after = set(await bench.serving())
        done.set()
        await clients
        assert {pid for pid, _ in await asyncio.gather(*slow)} <= before
        assert not before & after
        assert {snapshot_id for _, snapshot_id in answered} == {"s1"}
        assert after & {pid for pid, _ in answered}

    run(tmp_path, scenario)


def test_a_replacement_while_a_restart_waits_leaves_one_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slot_module, "FIRST_DELAY", 0.5)

    async def scenario(bench: Bench) -> None:
        for _ in range(2):
            (pid,) = await bench.serving(1)
            os.kill(pid, signal.SIGKILL)
            await eventually_async(lambda: pid not in bench.pids(), what="death noticed")  # noqa: B023
        assert bench.status.workers == ()
        await bench.supervisor.replace_workers(1.0)
        (pid,) = await bench.serving(1)
        await asyncio.sleep(0.7)
        assert await bench.serving(1) == [pid]

    run(tmp_path, scenario, workers=1)


def test_a_worker_asked_to_end_is_replaced_before_it_does(tmp_path: Path) -> None:
    async def scenario(bench: Bench) -> None:
        (pid,) = await bench.serving(1)
        await bench.apply("s1")
        slow = await bench.begin()
        os.kill(pid, signal.SIGTERM)
        await eventually_async(lambda: bench.pids() not in ([pid], []), what="successor")
        assert await slow == (pid, "s1")
        assert await bench.serving(1) != [pid]
        assert not is_alive(pid)

    run(tmp_path, scenario, workers=1)


def test_drain_finishes_what_is_in_flight(tmp_path: Path) -> None:
    async def scenario(bench: Bench) -> None:
        await bench.serving()
        await bench.apply("s1")
        slow = [await bench.begin() for _ in range(4)]
        await bench.supervisor.drain(30.0)
        assert {snapshot_id for _, snapshot_id in await asyncio.gather(*slow)} == {"s1"}
        assert bench.status.workers == ()

    run(tmp_path, scenario)


def test_workers_end_when_their_supervisor_is_gone(tmp_path: Path) -> None:
    async def scenario(bench: Bench) -> None:
        pids = await bench.serving()
        for slot in bench.supervisor._slots:
            for worker in slot.workers:
                worker._channel.close()
            slot._is_stopping = True
        await eventually_async(lambda: not any(is_alive(pid) for pid in pids), what="workers ended")

    run(tmp_path, scenario)


def test_kill_ends_every_worker_at_once(tmp_path: Path) -> None:
    async def scenario(bench: Bench) -> None:
        pids = await bench.serving()
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)  # so that asking them to end is not enough
        bench.supervisor.kill()
        await eventually_async(lambda: not any(is_alive(pid) for pid in pids), what="workers ended")

    run(tmp_path, scenario)


def test_a_worker_knows_how_endpoints_stand_before_it_applies_anything(tmp_path: Path) -> None:
    async def scenario(bench: Bench) -> None:
        endpoints = [{"host": "127.0.0.1", "port": free_port()}]
        check = {"type": "tcp", "interval": "100ms", "unhealthyThreshold": 1}
        judged = {"id": "d", "name": "d", "host": "unused.test", "port": 80, "endpoints": endpoints}
        first = await bench.serving()
        await bench.apply("s1", destinations=[judged | {"options": {"healthCheck": check}}])
        assert (await bench.get("/judged"))[1] == ""
        watch = bench.supervisor._watch
        address = f"127.0.0.1:{endpoints[0]['port']}"
        await eventually_async(
            lambda: watch.watched("d").endpoints[address].health.state is HealthState.UNHEALTHY, what="unhealthy"
        )
        for pid in first:
            os.kill(pid, signal.SIGKILL)
        await eventually_async(
            lambda: len(bench.pids()) == 2 and not set(bench.pids()) & set(first), what="new workers"
        )
        assert {(await bench.get("/judged"))[1] for _ in range(20)} == {"d"}

    run(tmp_path, scenario)
