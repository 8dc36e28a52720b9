"""TLS material of destinations in files, under a supervisor with real workers and the real data plane."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path

from structlog.testing import capture_logs

from tests.support import tls_upstream as upstream
from tests.support.certificates import Authority, Certificate
from tests.support.conditions import eventually_async
from tests.support.gateway import Document, forward, listener, route
from tests.support.in_process_proxy import snapshot_document
from tests.support.ports import free_port
from tests.support.recording_backend import RecordingBackend
from tests.support.stream_client import StreamClient
from vrata.observability.tasks import TaskSupervisor
from vrata.proxy.status import Verdict, WorkerState
from vrata.proxy.supervisor.supervisor import Supervisor, SupervisorSettings
from vrata.proxy.worker import WorkerSettings

FIRST, SECOND = (upstream.client_authority().issue("proxy", uris=[f"spiffe://mesh/{name}"]) for name in "12")
ROUTES = [
    route("tls", {"pathPrefix": "/tls"}, forward=forward("tls")),
    route("other", {"pathPrefix": "/other"}, forward=forward("other")),
]


class Proxy:
    """A supervisor that looks at files all the time, with destinations ``tls`` and ``other``."""

    def __init__(self, directory: Path, backend: RecordingBackend) -> None:
        settings = SupervisorSettings(
            workers=2,
            worker=WorkerSettings(slot=0, drain_timeout=2.0, log_level="error"),
            state_path=directory / "state",
            file_check_interval=0.05,
        )
        self.tasks = TaskSupervisor()
        self.supervisor = Supervisor(settings, self.tasks, lambda: None)
        self.port = free_port()
        self.backend = backend
        self.ca, self.cert, self.key = (directory / f"{name}.pem" for name in ("ca", "cert", "key"))
        self._applied = 0

    def write(self, certificate: Certificate | None = None, ca: str = "") -> None:
        """Put the files there as certificate managers do: each at once, but not all at once."""
        if ca:
            self.ca.with_suffix(".new").write_text(ca)
            self.ca.with_suffix(".new").replace(self.ca)
        if certificate is not None:
            certificate.cert_file(self.cert.with_suffix(".new")).replace(self.cert)
            certificate.key_file(self.key.with_suffix(".new")).replace(self.key)

    def in_files(self, **tls: str) -> Document:
        files = {"ca": str(self.ca), "cert": str(self.cert), "key": str(self.key)}
        return upstream.secured(self.backend.port, "tls", mode="mtls", **files, **tls)

    async def apply(self, *destinations: Document) -> None:
        self._applied += 1
        name = f"s{self._applied}"
        document = snapshot_document(
            name, listeners=[listener(self.port)], destinations=list(destinations), routes=ROUTES
        )
        self.supervisor.submit(json.dumps(document).encode())
        await eventually_async(lambda: self._has_applied(name), what=f"{name} applied")

    def _has_applied(self, name: str) -> bool:
        outcome = self.supervisor.status().last_apply
        return outcome is not None and outcome.snapshot_id == name and outcome.verdict is Verdict.APPLIED

    @property
    def problems(self) -> list[str]:
        outcome = self.supervisor.status().last_apply
        assert outcome is not None
        assert all((problem.kind, problem.id) == ("destination", "tls") for problem in outcome.problems)
        return [problem.reason for problem in outcome.problems]

    @property
    def pids(self) -> list[int]:
        workers = self.supervisor.status().workers
        return [worker.pid for worker in workers if worker.state is WorkerState.SERVING]

    async def ask(self, path: str = "/tls", times: int = 8) -> set[str]:
        """What becomes of several requests on connections of their own, to whichever worker."""
        outcomes = set()
        for _ in range(times):
            client = await StreamClient.connect(self.port)
            response = await client.exchange(f"GET {path}")
            outcomes.add("ok" if response.status == 200 else str(json.loads(response.body)["error"]))
            await client.gone()
        return outcomes

    def shown(self) -> set[str]:
        """Who the last requests came from, by the certificates."""
        shown = [self.backend.certificates[exchange.connection] for exchange in self.backend.requests[-8:]]
        return {value for found in shown for kind, value in found["subjectAltName"] if kind == "URI"}

    async def ask_until(self, condition: Callable[[set[str]], bool]) -> set[str]:
        """What becomes of requests that are made one after the other until *condition* says that it is enough."""
        outcomes: set[str] = set()
        async with asyncio.timeout(20):
            while not condition(outcomes):
                outcomes |= await self.ask(times=1)
        return outcomes


def run(directory: Path, scenario: Callable[[Proxy], Awaitable[None]]) -> None:
    async def main(backend: RecordingBackend) -> None:
        proxy = Proxy(directory, backend)
        try:
            proxy.supervisor.start()
            await scenario(proxy)
        finally:
            await proxy.supervisor.drain(0.5)
            await proxy.tasks.stop()

    with capture_logs() as logs, RecordingBackend(tls=upstream.asking_for_certificates()) as backend:
        asyncio.run(main(backend))
    secret = [line for certificate in (FIRST, SECOND) for line in certificate.key_text.splitlines()[1:-1]]
    assert not [entry for entry in logs if any(line in str(entry) for line in secret)]


def test_files_that_change_are_taken_up_without_losing_a_request(tmp_path: Path) -> None:
    async def scenario(proxy: Proxy) -> None:
        proxy.write(FIRST, upstream.authority().cert_text)
        await proxy.apply(proxy.in_files())
        assert await proxy.ask() == {"ok"}
        assert proxy.shown() == {"spiffe://mesh/1"}
        connections = proxy.backend.connections
        assert connections <= 2
        proxy.write(SECOND)
        assert await proxy.ask_until(lambda _: proxy.shown() == {"spiffe://mesh/2"}) == {"ok"}
        # An authority that is added is no reason to fail either, and one that is gone is not trusted any more.
        edition = proxy.supervisor.edition.number
        proxy.write(ca=f"{upstream.authority().cert_text}{Authority('new').cert_text}")
        await eventually_async(lambda: proxy.supervisor.edition.number > edition, what="a new edition")
        assert await proxy.ask() == {"ok"}
        proxy.write(ca=Authority("new").cert_text)
        assert await proxy.ask_until(lambda outcomes: not outcomes <= {"ok"}) == {"ok", "tls_handshake_failure"}
        assert proxy.problems == []

    run(tmp_path, scenario)


def test_files_that_are_no_good_leave_the_last_good_ones_in_use(tmp_path: Path) -> None:
    async def scenario(proxy: Proxy) -> None:
        proxy.write(FIRST, upstream.authority().cert_text)
        await proxy.apply(proxy.in_files())
        assert await proxy.ask() == {"ok"}
        SECOND.key_file(proxy.key)
        await eventually_async(lambda: bool(proxy.problems), what="it is reported")
        expected = f"options.tls.key: {proxy.key}: does not belong to the certificate (the last good one is still used)"
        assert proxy.problems == [expected]
        assert await proxy.ask() == {"ok"}
        # Workers that take the place of others are no worse off.
        before = proxy.pids
        for pid in before:
            os.kill(pid, signal.SIGKILL)
        await eventually_async(lambda: len(proxy.pids) == 2 and not {*before} & {*proxy.pids}, what="others serve")
        assert await proxy.ask() == {"ok"}
        assert proxy.shown() == {"spiffe://mesh/1"}
        # Nor is the next snapshot.
        await proxy.apply(proxy.in_files(minVersion="TLSv1_3"))
        assert await proxy.ask() == {"ok"}
        assert proxy.problems == [expected]
        SECOND.cert_file(proxy.cert)
        await eventually_async(lambda: not proxy.problems, what="nothing is wrong any more")
        assert await proxy.ask() == {"ok"}
        assert proxy.shown() == {"spiffe://mesh/2"}

    run(tmp_path, scenario)


def test_a_destination_without_material_waits_for_it_alone(tmp_path: Path) -> None:
    async def scenario(proxy: Proxy) -> None:
        with RecordingBackend(tls=upstream.serving()) as other:
            await proxy.apply(proxy.in_files(), upstream.secured(other.port, "other"))
            assert proxy.problems == [f"options.tls.cert: {proxy.cert}: No such file or directory (left out)"]
            assert await proxy.ask() == {"no_destination"}
            assert await proxy.ask("/other") == {"ok"}
            connections = other.connections
            proxy.write(FIRST, upstream.authority().cert_text)
            await eventually_async(lambda: not proxy.problems, what="it has what it needs")
            assert await proxy.ask() == {"ok"}
            assert await proxy.ask("/other") == {"ok"}
            assert other.connections == connections, "nothing has changed for the other one"

    run(tmp_path, scenario)


def test_what_is_to_be_secret_is_not_sent_in_clear(tmp_path: Path) -> None:
    async def scenario(proxy: Proxy) -> None:
        with RecordingBackend() as plain:
            destination = upstream.secured(plain.port, "tls", ca=str(proxy.ca))
            in_clear = {**destination, "options": {}}
            await proxy.apply(in_clear)
            assert await proxy.ask() == {"ok"}
            await proxy.apply(destination)
            assert await proxy.ask() == {"no_destination"}
            proxy.write(ca=upstream.authority().cert_text)
            await eventually_async(lambda: not proxy.problems, what="it has what it needs")
            requests = len(plain.requests)
            assert await proxy.ask(times=2) == {"tls_handshake_failure"}
            await proxy.apply(in_clear)
            assert await proxy.ask() == {"ok"}
            assert [exchange.target for exchange in plain.requests[requests:]][-8:] == ["/tls"] * 8

    run(tmp_path, scenario)
