"""The snapshot stream against a real server that behaves well, badly, or not at all."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from structlog.testing import capture_logs

from tests.support.conditions import eventually_async
from tests.support.ports import free_port
from tests.support.sync_server import STREAM_HEAD, StreamScript, SyncServer, chunk, event
from vrata.observability.tasks import TaskSupervisor
from vrata.proxy.sync.link import ControlPlaneLink
from vrata.proxy.sync.stream import SnapshotStream


class Client:
    """A stream under test, and what it delivered."""

    def __init__(self, url: str, *, api_key: str | None = None, interval: float = 0.05, silence: float = 5.0) -> None:
        self.snapshots: list[bytes] = []
        self.connections = 0
        self.stream = SnapshotStream(
            ControlPlaneLink(url, "proxy-1", api_key),
            interval,
            self.snapshots.append,
            self._on_connected,
            silence=silence,
        )

    def _on_connected(self) -> None:
        self.connections += 1

    async def received(self, *snapshots: bytes) -> None:
        await eventually_async(lambda: self.snapshots == list(snapshots), what=f"{snapshots}, not {self.snapshots}")


Scenario = Callable[[SyncServer, TaskSupervisor], Awaitable[None]]


def run(script: StreamScript | None, scenario: Scenario) -> list[tuple[str, str]]:
    """Run *scenario* with a server that streams by *script*; returns level and reason of every end of a stream."""

    async def main() -> None:
        tasks = TaskSupervisor()
        async with SyncServer(script) as server:
            try:
                await scenario(server, tasks)
            finally:
                await tasks.stop()

    with capture_logs() as logs:
        asyncio.run(main())
    return [(entry["log_level"], entry["reason"]) for entry in logs if "reason" in entry]


async def forever(writer: asyncio.StreamWriter) -> None:
    writer.write(STREAM_HEAD)
    await writer.drain()
    await asyncio.Event().wait()


def test_what_it_asks_for_and_how_it_identifies_itself() -> None:
    async def scenario(server: SyncServer, tasks: TaskSupervisor) -> None:
        client = Client(server.url, api_key="s3cret")
        tasks.start(client.stream.run(), name="stream")
        await eventually_async(lambda: client.connections, what="connected")
        (request,) = server.streams
        assert (request.method, request.path) == ("GET", "/api/v1/sync/snapshot")
        assert request.headers["accept"] == "text/event-stream"
        assert request.headers["authorization"] == "Bearer s3cret"
        assert request.headers["x-vrata-proxy"] == "proxy-1"
        assert request.headers["user-agent"].startswith("vrata/")

    run(forever, scenario)


def test_without_a_key_there_is_no_authorization() -> None:
    async def scenario(server: SyncServer, tasks: TaskSupervisor) -> None:
        tasks.start(Client(server.url).stream.run(), name="stream")
        await eventually_async(lambda: server.streams, what="request")
        assert "authorization" not in server.streams[0].headers

    run(forever, scenario)


def test_every_snapshot_of_a_stream_arrives_and_other_events_do_not() -> None:
    async def script(writer: asyncio.StreamWriter) -> None:
        writer.write(STREAM_HEAD + event(b"1"))
        writer.write(chunk(b": keepalive\n\n") + chunk(b"event: gossip\ndata: x\n\n"))
        await writer.drain()
        writer.write(event(b"2") + event(b"3"))
        await forever(writer)

    async def scenario(server: SyncServer, tasks: TaskSupervisor) -> None:
        client = Client(server.url)
        tasks.start(client.stream.run(), name="stream")
        await client.received(b"1", b"2", b"3")

    run(script, scenario)


def test_a_snapshot_of_many_megabytes_arrives_whole() -> None:
    big = b'{"x":"' + b"x" * (12 << 20) + b'"}'

    async def script(writer: asyncio.StreamWriter) -> None:
        writer.write(STREAM_HEAD + event(big))
        await forever(writer)

    async def scenario(server: SyncServer, tasks: TaskSupervisor) -> None:
        client = Client(server.url)
        tasks.start(client.stream.run(), name="stream")
        await eventually_async(lambda: client.snapshots, what="snapshot")
        assert client.snapshots == [big]

    run(script, scenario)


def test_it_reconnects_after_every_end_and_gets_the_latest() -> None:
    count = 0

    async def script(writer: asyncio.StreamWriter) -> None:
        nonlocal count
        count += 1
        writer.write(STREAM_HEAD + event(str(count).encode()))
        await writer.drain()
        if count > 2:
            await asyncio.Event().wait()
        if count == 2:
            writer.write(b"0\r\n\r\n")  # an orderly end; the first one was cut

    async def scenario(server: SyncServer, tasks: TaskSupervisor) -> None:
        client = Client(server.url)
        tasks.start(client.stream.run(), name="stream")
        await client.received(b"1", b"2", b"3")

    run(script, scenario)


def test_a_snapshot_cut_in_the_middle_is_not_delivered() -> None:
    count = 0

    async def script(writer: asyncio.StreamWriter) -> None:
        nonlocal count
        count += 1
        if count == 1:
            writer.write(STREAM_HEAD + chunk(b"event: snapshot\ndata: half"))
            return
        writer.write(STREAM_HEAD + event(b"whole"))
        await forever(writer)

    async def scenario(server: SyncServer, tasks: TaskSupervisor) -> None:
        client = Client(server.url)
        tasks.start(client.stream.run(), name="stream")
        await client.received(b"whole")

    run(script, scenario)


def test_a_silent_link_is_dead_but_comments_keep_it_alive() -> None:
    async def script(writer: asyncio.StreamWriter) -> None:
        writer.write(STREAM_HEAD)
        for _ in range(8):
            writer.write(chunk(b":\n\n"))
            await writer.drain()
            await asyncio.sleep(0.1)
        await asyncio.Event().wait()

    async def scenario(server: SyncServer, tasks: TaskSupervisor) -> None:
        client = Client(server.url, silence=0.4)
        loop = asyncio.get_running_loop()
        began = loop.time()
        tasks.start(client.stream.run(), name="stream")
        await eventually_async(lambda: client.connections == 2, what="second connection")
        assert 0.7 + 0.4 <= loop.time() - began < 30

    assert run(script, scenario) == [("warning", "nothing received for 0.4 s")]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n", "the control plane answered 401 Unauthorized"),
        (b"HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n", "the control plane answered 302 Found"),
        (
            b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 0\r\n\r\n",
            "the control plane answered with text/html",
        ),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "the control plane answered with no content type"),
    ],
)
def test_an_answer_that_is_no_stream_is_reported_once_and_tried_again(answer: bytes, reason: str) -> None:
    async def script(writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        await writer.drain()

    async def scenario(server: SyncServer, tasks: TaskSupervisor) -> None:
        client = Client(server.url)
        tasks.start(client.stream.run(), name="stream")
        await eventually_async(lambda: len(server.streams) > 3, what="several attempts")
        assert client.connections == 0

    reports = run(script, scenario)
    assert reports[0] == ("warning", reason)
    assert set(reports[1:]) == {("debug", reason)}


def test_a_control_plane_that_is_not_there_is_waited_for() -> None:
    async def scenario(server: SyncServer, tasks: TaskSupervisor) -> None:
        port = free_port()
        client = Client(f"http://127.0.0.1:{port}")
        tasks.start(client.stream.run(), name="stream")
        await eventually_async(lambda: "0 failures" not in repr(client.stream), what="a failure")
        async with SyncServer(forever, port):
            await eventually_async(lambda: client.connections, what="connected")

    run(None, scenario)


def test_pauses_grow_to_the_interval_and_are_spread() -> None:
    stream = Client("http://127.0.0.1:1", interval=8.0).stream
    delays: list[float] = []
    for failures in (*range(12), 5000):
        stream._failures = failures
        delays.append(stream._delay())
    ceilings = [min(8.0, 0.1 * 2**failures) for failures in (*range(12), 20)]
    for delay, ceiling in zip(delays, ceilings, strict=True):
        assert 0.5 * ceiling <= delay <= 1.5 * ceiling
    assert len({round(stream._delay(), 6) for _ in range(20)}) > 10


def test_a_fault_of_ours_does_not_end_the_stream() -> None:
    async def script(writer: asyncio.StreamWriter) -> None:
        writer.write(STREAM_HEAD + event(b"x"))
        await forever(writer)

    async def scenario(server: SyncServer, tasks: TaskSupervisor) -> None:
        def fail(content: bytes) -> None:
            raise RuntimeError("bug")

        stream = SnapshotStream(ControlPlaneLink(server.url, "p"), 0.01, fail, lambda: None)
        tasks.start(stream.run(), name="stream")
        await eventually_async(lambda: len(server.streams) > 2, what="several attempts")

    assert ("warning", "bug") in run(script, scenario)
