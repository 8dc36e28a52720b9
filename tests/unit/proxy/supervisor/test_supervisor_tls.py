"""Certificates from files, under a supervisor with real workers and the real data plane."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from structlog.testing import capture_logs

from tests.support.bare_tls_client import BareTlsClient
from tests.support.certificates import Certificate
from tests.support.conditions import eventually_async
from tests.support.gateway import Document, listener
from tests.support.in_process_proxy import snapshot_document
from tests.support.ports import free_port
from tests.support.stream_client import StreamClient
from tests.support.tls_listener import GET, HELLO, authority, terminating, trusting
from vrata.observability.tasks import TaskSupervisor
from vrata.proxy.status import ListenerState, ListenerStatus, Verdict, WorkerState
from vrata.proxy.supervisor.supervisor import Supervisor, SupervisorSettings
from vrata.proxy.worker import WorkerSettings


class Proxy:
    """A supervisor with one listener named ``tls``, whose files it looks at all the time."""

    def __init__(self, directory: Path) -> None:
        settings = SupervisorSettings(
            workers=2,
            worker=WorkerSettings(slot=0, drain_timeout=2.0, log_level="error"),
            state_path=directory / "state",
            file_check_interval=0.05,
        )
        self.tasks = TaskSupervisor()
        self.supervisor = Supervisor(settings, self.tasks, lambda: None)
        self.port = free_port()
        self.cert = directory / "cert.pem"
        self.key = directory / "key.pem"
        self._applied = 0

    def write(self, certificate: Certificate) -> None:
        """Put the files there as certificate managers do: each at once, but not both at once."""
        certificate.cert_file(self.cert.with_suffix(".new")).replace(self.cert)
        certificate.key_file(self.key.with_suffix(".new")).replace(self.key)

    @property
    def in_files(self) -> Document:
        return {"cert": str(self.cert), "key": str(self.key)}

    async def apply(self, tls: Document | None, *others: Document) -> None:
        """Have a snapshot applied in which the listener has that *tls*, and *others* are there."""
        self._applied += 1
        name = f"s{self._applied}"
        ours = listener(self.port, "tls") if tls is None else listener(self.port, "tls", tls=tls)
        document = snapshot_document(name, listeners=[ours, *others], routes=[HELLO])
        self.supervisor.submit(json.dumps(document).encode())
        await eventually_async(lambda: self._has_applied(name), what=f"{name} applied")

    def _has_applied(self, name: str) -> bool:
        outcome = self.supervisor.status().last_apply
        return outcome is not None and outcome.snapshot_id == name and outcome.verdict is Verdict.APPLIED

    @property
    def status(self) -> ListenerStatus:
        """Of the listener with TLS."""
        return next(found for found in self.supervisor.status().listeners if found.id == "tls")

    @property
    def problems(self) -> list[str]:
        outcome = self.supervisor.status().last_apply
        assert outcome is not None
        return [problem.reason for problem in outcome.problems if (problem.kind, problem.id) == ("listener", "tls")]

    @property
    def pids(self) -> list[int]:
        workers = self.supervisor.status().workers
        return [worker.pid for worker in workers if worker.state is WorkerState.SERVING]

    async def serves(self, certificate: Certificate, connections: int = 8, name: str | None = "proxy.test") -> bool:
        """Whether every one of several new connections, to whichever worker, gets *certificate* and an answer.

        *name* is what it asks for.
        """
        expected = ssl.PEM_cert_to_DER_cert(certificate.cert_text)
        for _ in range(connections):
            client = await BareTlsClient.connect(self.port, trusting(), name=name)
            try:
                await client.shake_hands()
                if client.session.getpeercert(binary_form=True) != expected:
                    return False
                client.send(GET)
                await client.receive_until(b"hello")
            finally:
                client.close()
        return True

    async def comes_to_serve(self, certificate: Certificate, name: str = "proxy.test") -> None:
        async with asyncio.timeout(30):
            # It sleeps for the next look at the files.
            while not await self.serves(certificate, name=name):  # noqa: ASYNC110
                await asyncio.sleep(0.02)


def run(directory: Path, scenario: Callable[[Proxy], Awaitable[None]]) -> None:
    async def main() -> None:
        proxy = Proxy(directory)
        try:
            proxy.supervisor.start()
            await scenario(proxy)
        finally:
            await proxy.supervisor.drain(0.5)
            await proxy.tasks.stop()

    with capture_logs() as logs:
        asyncio.run(main())
    secret = [line for certificate in (FIRST, SECOND) for line in certificate.key_text.splitlines()[1:-1]]
    assert not [entry for entry in logs if any(line in str(entry) for line in secret)]


FIRST = authority().issue("first.test")
SECOND = authority().issue("second.test")


def test_files_that_change_are_taken_up_without_dropping_a_connection(tmp_path: Path) -> None:
    async def scenario(proxy: Proxy) -> None:
        proxy.write(FIRST)
        await proxy.apply(proxy.in_files)
        assert await proxy.serves(FIRST)
        before = proxy.status.tls
        assert before is not None
        assert before.loaded_at is not None
        assert [(found.names, found.is_default) for found in before.certificates] == [(("first.test",), True)]
        old = await StreamClient.connect(proxy.port, tls=trusting())
        await old.exchange("GET /")
        proxy.write(SECOND)
        await proxy.comes_to_serve(SECOND)
        assert "connection" not in await old.exchange("GET /")
        await old.gone()
        after = proxy.status.tls
        assert after is not None
        assert after.loaded_at is not None
        assert after.loaded_at > before.loaded_at
        assert [found.names for found in after.certificates] == [("second.test",)]
        assert after.problems == ()
        address = f"127.0.0.1:{proxy.port}"
        assert proxy.status == ListenerStatus("tls", "tls", address, ListenerState.LISTENING, tls=after)
        # The next look at the files finds nothing new.
        edition = proxy.supervisor.edition
        os.utime(proxy.cert)
        await asyncio.sleep(0.2)
        assert proxy.supervisor.edition is edition
        assert proxy.status.tls == after

    run(tmp_path, scenario)


def test_files_that_are_no_good_leave_the_last_good_ones_in_force(tmp_path: Path) -> None:
    async def scenario(proxy: Proxy) -> None:
        proxy.write(FIRST)
        await proxy.apply(proxy.in_files)
        SECOND.key_file(proxy.key)
        await eventually_async(lambda: bool(proxy.problems), what="it is reported")
        expected = (
            f"tls.key: {proxy.key}: does not belong to the certificate (still served with the last good certificate)"
        )
        assert proxy.problems == [expected]
        assert (proxy.status.state, proxy.status.reason) == (ListenerState.LISTENING, expected)
        assert await proxy.serves(FIRST)
        # Workers that take the place of others are no worse off.
        before = proxy.pids
        for pid in before:
            os.kill(pid, signal.SIGKILL)
        await eventually_async(lambda: len(proxy.pids) == 2 and not {*before} & {*proxy.pids}, what="others serve")
        assert await proxy.serves(FIRST)
        # Nor is the next snapshot.
        await proxy.apply({**proxy.in_files, "minVersion": "TLSv1_3"})
        assert await proxy.serves(FIRST)
        assert proxy.problems == [expected]
        SECOND.cert_file(proxy.cert)
        await eventually_async(lambda: not proxy.problems, what="nothing is wrong any more")
        assert await proxy.serves(SECOND)
        assert (proxy.status.state, proxy.status.reason) == (ListenerState.LISTENING, "")

    run(tmp_path, scenario)


def test_a_listener_without_material_waits_for_it_alone(tmp_path: Path) -> None:
    async def scenario(proxy: Proxy) -> None:
        other = free_port()
        await proxy.apply(proxy.in_files, listener(other, "other"))
        expected = f"tls.cert: {proxy.cert}: No such file or directory (not served)"
        assert proxy.problems == [expected]
        assert (proxy.status.state, proxy.status.reason) == (ListenerState.FAILED, expected)
        with pytest.raises(ConnectionRefusedError):
            await proxy.serves(FIRST)
        client = await StreamClient.connect(other)
        assert (await client.exchange("GET /")).body == b"hello"
        proxy.write(FIRST)
        await eventually_async(lambda: proxy.status.state is ListenerState.LISTENING, what="it listens")
        assert await proxy.serves(FIRST)
        assert (await client.exchange("GET /")).body == b"hello"
        await client.gone()

    run(tmp_path, scenario)


def test_a_snapshot_with_bad_material_leaves_the_last_good_in_force(tmp_path: Path) -> None:
    weak = authority().issue("weak.test", key=rsa.generate_private_key(65537, 1024))

    async def scenario(proxy: Proxy) -> None:
        await proxy.apply(terminating(FIRST))
        await proxy.apply(terminating(weak))
        assert proxy.problems == ["tls: cannot be used: ee key too small (still served with the last good certificate)"]
        assert await proxy.serves(FIRST)
        await proxy.apply(terminating(SECOND))
        assert proxy.problems == []
        assert await proxy.serves(SECOND)

    run(tmp_path, scenario)


def test_what_is_to_be_secret_is_not_served_in_clear(tmp_path: Path) -> None:
    async def scenario(proxy: Proxy) -> None:
        await proxy.apply(None)
        client = await StreamClient.connect(proxy.port)
        assert (await client.exchange("GET /")).body == b"hello"
        await proxy.apply(proxy.in_files)
        assert proxy.status.state is ListenerState.FAILED
        assert await client.ending() == "closed"
        await client.gone()
        with pytest.raises(ConnectionRefusedError):
            await StreamClient.connect(proxy.port)
        proxy.write(FIRST)
        await eventually_async(lambda: proxy.status.state is ListenerState.LISTENING, what="it listens")
        assert await proxy.serves(FIRST)
        await proxy.apply(None)
        client = await StreamClient.connect(proxy.port)
        assert (await client.exchange("GET /")).body == b"hello"
        await client.gone()

    run(tmp_path, scenario)


def test_each_of_several_certificates_is_renewed_by_itself(tmp_path: Path) -> None:
    shop = {"cert": tmp_path / "shop.pem", "key": tmp_path / "shop.key"}
    blog = {"cert": tmp_path / "blog.pem", "key": tmp_path / "blog.key"}
    old, new = (authority().issue("shop.test") for _ in range(2))
    missing = authority().issue("blog.test")

    async def scenario(proxy: Proxy) -> None:
        proxy.write(FIRST)
        old.cert_file(shop["cert"])
        old.key_file(shop["key"])
        certificates = [{name: str(path) for name, path in files.items()} for files in (shop, blog)]
        await proxy.apply({**proxy.in_files, "certificates": certificates})
        left_out = f"tls.certificates[1].cert: {blog['cert']}: No such file or directory (left out)"
        assert proxy.problems == [left_out]
        assert (proxy.status.state, proxy.status.reason) == (ListenerState.LISTENING, left_out)
        assert await proxy.serves(FIRST)
        assert await proxy.serves(old, name="shop.test")
        assert await proxy.serves(FIRST, name="blog.test")
        kept = await StreamClient.connect(proxy.port, tls=trusting())
        await kept.exchange("GET /")
        # One that is broken keeps what it had, one that comes is taken up, and the default one goes on.
        new.key_file(shop["key"])
        missing.cert_file(blog["cert"])
        missing.key_file(blog["key"])
        await proxy.comes_to_serve(missing, name="blog.test")
        (problem,) = proxy.problems
        assert problem.endswith("does not belong to the certificate (still served with the last good certificate)")
        assert problem.startswith(f"tls.certificates[0].key: {shop['key']}: ")
        assert await proxy.serves(old, name="shop.test")
        new.cert_file(shop["cert"])
        await proxy.comes_to_serve(new, name="shop.test")
        assert proxy.problems == []
        status = proxy.status.tls
        assert status is not None
        assert [(found.names, found.is_default) for found in status.certificates] == [
            (("first.test",), True),
            (("shop.test",), False),
            (("blog.test",), False),
        ]
        # A name can have one certificate only, which is found out when the files are read.
        new.cert_file(blog["cert"])
        new.key_file(blog["key"])
        await eventually_async(lambda: bool(proxy.problems), what="it is reported")
        kept_reason = "still served with the last good certificate"
        assert proxy.problems == [
            f'tls.certificates[1]: "shop.test" is a name of certificates[0] as well ({kept_reason})'
        ]
        assert await proxy.serves(missing, name="blog.test")
        assert "connection" not in await kept.exchange("GET /")
        await kept.gone()

    run(tmp_path, scenario)
