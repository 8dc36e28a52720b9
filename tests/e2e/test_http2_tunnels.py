"""WebSocket over a stream of HTTP/2 (RFC 8441), with a backend that knows nothing of that."""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect
from websockets.sync.server import ServerConnection, serve

from tests.support import http2_frames as frames
from tests.support import websocket_frames as websocket
from tests.support.certificates import Authority
from tests.support.conditions import eventually
from tests.support.gateway import Gateway, destination, forward, listener, route
from tests.support.http2_frames import MAX_FRAME_SIZE, Code, Setting
from tests.support.http2_peer import TIMEOUT, Http2Peer
from tests.support.ports import free_port
from tests.support.recording_backend import Exchange, RecordingBackend
from tests.support.websocket_frames import BINARY, CLOSE, PING, PONG, TEXT, WebSocketFrame


class EchoServer:
    """A WebSocket server that echoes, and notes how each connection was closed."""

    def __init__(self) -> None:
        self.closed: list[tuple[str, int, str]] = []
        """Path, code and reason; 1006 where there was no goodbye."""
        self.paths: list[str] = []
        self._server = serve(
            self._echo,
            "127.0.0.1",
            0,
            select_subprotocol=lambda _, offered: offered[0] if offered else None,
            max_size=None,
            compression=None,
        )
        self.port: int = self._server.socket.getsockname()[1]
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()

    def _echo(self, connection: ServerConnection) -> None:
        assert connection.request is not None
        self.paths.append(connection.request.path)
        try:
            while True:
                message = connection.recv()
                if message == "close yourself":
                    connection.close(4002, "as you wish")
                elif message == "drop":
                    connection.socket.setsockopt(1, 13, b"\x01\x00\x00\x00\x00\x00\x00\x00")  # SO_LINGER: a reset
                    connection.socket.close()
                else:
                    connection.send(message)
        except ConnectionClosed as closed:
            frame = closed.rcvd
            code, reason = (1006, "") if frame is None else (int(frame.code), frame.reason)
            self.closed.append((connection.request.path, code, reason))
        except OSError:
            self.closed.append((connection.request.path, 1006, ""))


class WebSocketStream:
    """A client's side of a WebSocket on a stream."""

    def __init__(self, peer: Http2Peer, stream: int) -> None:
        self.peer = peer
        self.stream = stream
        self.room = peer.settings.get(Setting.INITIAL_WINDOW_SIZE, 65535)
        self._frames: list[WebSocketFrame] = []

    def open(self, path: str = "/", *fields: tuple[str, str], end: bool = False) -> int:
        """Ask for the tunnel; the status of the answer."""
        head = [
            (":method", "CONNECT"),
            (":protocol", "websocket"),
            (":scheme", "http"),
            (":authority", "proxy.test"),
            (":path", path),
            ("sec-websocket-version", "13"),
            *fields,
        ]
        self.peer.send(frames.headers(self.stream, self.peer.block(head), end=end))
        return self.peer.await_head(self.stream).status

    def send(self, opcode: int, payload: bytes = b"", *, final: bool = True) -> None:
        self.send_bytes(websocket.masked(opcode, payload, final=final))

    def send_bytes(self, data: bytes, *, end: bool = False) -> None:
        pieces = [data[at : at + MAX_FRAME_SIZE] for at in range(0, len(data), MAX_FRAME_SIZE)] or [b""]
        self.peer.send(*(frames.data(self.stream, piece, end=end and piece is pieces[-1]) for piece in pieces))

    def receive(self) -> WebSocketFrame:
        """The next frame of the server."""
        message = self.peer.message(self.stream)
        while not self._frames:
            self._frames, message.content = websocket.read(message.content)
            if not self._frames:
                assert self.peer.next_frame(time.monotonic() + TIMEOUT) is not None
                assert message.reset is None, message
                assert not message.ended or message.content, message
        return self._frames.pop(0)


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority("servers")


@pytest.fixture(scope="module")
def ports(gateway: Gateway) -> tuple[int, int]:
    """A port in clear, and one with TLS."""
    return free_port(), free_port()


@pytest.fixture(scope="module")
def server() -> Iterator[EchoServer]:
    running = EchoServer()
    yield running
    running.close()


@pytest.fixture(autouse=True)
def _configured(
    gateway: Gateway, ports: tuple[int, int], server: EchoServer, backend: RecordingBackend, authority: Authority
) -> None:
    server.closed.clear()
    server.paths.clear()
    certificate = authority.issue("proxy.test")
    tls = {"cert": certificate.cert_text, "key": certificate.key_text}
    limits = {"clientRequest": "1s", "clientResponse": "1s"}
    gateway.configure(
        listeners=[
            listener(ports[0], http2=True, timeouts=limits),
            listener(ports[1], "secure", http2=True, tls=tls, timeouts=limits),
        ],
        destinations=[destination("echo", server.port), destination("raw", backend.port)],
        routes=[
            route("small", {"path": "/small"}, directResponse={"status": 200, "body": "small"}),
            route("raw", {"pathPrefix": "/raw"}, forward=forward("raw")),
            route("echo", forward=forward("echo", timeouts={"request": "1s"})),
        ],
    )


@pytest.fixture(params=[False, True], ids=["clear", "TLS"])
def peer(ports: tuple[int, int], authority: Authority, request: pytest.FixtureRequest) -> Iterator[Http2Peer]:
    with connected(ports, authority, secure=request.param) as found:
        yield found


@contextmanager
def connected(ports: tuple[int, int], authority: Authority, *, secure: bool) -> Iterator[Http2Peer]:
    context: ssl.SSLContext | None = None
    if secure:
        context = authority.client_context()
        context.set_alpn_protocols(["h2"])
    with Http2Peer.connect(ports[secure], tls=context) as found:
        found.start()
        assert found.settings[Setting.ENABLE_CONNECT_PROTOCOL] == 1
        yield found


class TestWebSocketServer:
    def test_messages_pass_as_they_are(self, peer: Http2Peer, server: EchoServer) -> None:
        stream = WebSocketStream(peer, 1)
        assert stream.open("/room?a=1", ("sec-websocket-protocol", "chat"), ("origin", "http://a")) == 200
        head = peer.message(1)
        assert head.value(b"sec-websocket-protocol") == b"chat"
        assert not head.all(b"sec-websocket-accept") + head.all(b"connection") + head.all(b"upgrade")
        eventually(lambda: "/room?a=1" in server.paths, what="the server has seen the path")
        for size in (0, 1, 125, 126, 65535, 65536, 200_000):
            payload = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
            stream.send(BINARY, payload)
            assert stream.receive() == WebSocketFrame(BINARY, payload)
        stream.send(TEXT, "grüße ".encode(), final=False)
        stream.send(0, b"an alle")
        assert stream.receive() == WebSocketFrame(TEXT, "grüße an alle".encode())

    def test_pings_and_close_codes_are_not_touched(self, peer: Http2Peer, server: EchoServer) -> None:
        stream = WebSocketStream(peer, 1)
        assert stream.open("/closing") == 200
        stream.send(PING, b"are you there")
        assert stream.receive() == WebSocketFrame(PONG, b"are you there")
        stream.send_bytes(websocket.closing(4001, "enough"))
        answer = stream.receive()
        assert (answer.opcode, answer.close_code, answer.payload[2:]) == (CLOSE, 4001, b"enough")
        stream.send_bytes(b"", end=True)
        eventually(lambda: ("/closing", 4001, "enough") in server.closed, what="the server knows why")
        assert peer.await_message(1).reset is None

    def test_a_server_closes(self, peer: Http2Peer) -> None:
        stream = WebSocketStream(peer, 1)
        assert stream.open() == 200
        stream.send(TEXT, b"close yourself")
        answer = stream.receive()
        assert (answer.close_code, answer.payload[2:]) == (4002, b"as you wish")
        stream.send_bytes(websocket.closing(4002, "as you wish"), end=True)
        assert peer.await_message(1).reset is None

    def test_a_stream_that_is_reset_is_an_abnormal_end(self, peer: Http2Peer, server: EchoServer) -> None:
        stream = WebSocketStream(peer, 1)
        assert stream.open("/reset") == 200
        stream.send(TEXT, b"hello")
        stream.receive()
        peer.send(frames.rst_stream(1))
        eventually(lambda: ("/reset", 1006, "") in server.closed, what="the server has noticed")
        peer.request(3, path="/small")
        assert peer.await_message(3).content == b"small"

    def test_a_server_that_resets_its_connection_cancels_the_stream(self, peer: Http2Peer) -> None:
        stream = WebSocketStream(peer, 1)
        assert stream.open() == 200
        stream.send(TEXT, b"drop")
        assert peer.await_message(1).reset == Code.CANCEL

    def test_many_share_a_connection_with_requests(self, peer: Http2Peer) -> None:
        streams = [WebSocketStream(peer, number) for number in range(1, 41, 2)]
        for stream in streams:
            assert stream.open(f"/{stream.stream}") == 200
        for turn in range(5):
            for stream in streams:
                stream.send(TEXT, b"%d of %d" % (turn, stream.stream))
            number = 101 + 2 * turn
            peer.request(number, path="/small")
            assert peer.await_message(number).content == b"small"
            for stream in reversed(streams):
                assert stream.receive() == WebSocketFrame(TEXT, b"%d of %d" % (turn, stream.stream))

    def test_it_outlives_limits_and_snapshots(
        self, peer: Http2Peer, gateway: Gateway, ports: tuple[int, int], server: EchoServer
    ) -> None:
        stream = WebSocketStream(peer, 1)
        assert stream.open() == 200
        assert not threading.Event().wait(1.5), "longer than any limit of a request"
        gateway.configure(listeners=[listener(ports[0])], routes=[route("all", directResponse={"status": 200})])
        stream.send(TEXT, b"still here")
        assert stream.receive() == WebSocketFrame(TEXT, b"still here")
        stream.send_bytes(websocket.closing(1000))
        assert stream.receive().close_code == 1000
        stream.send_bytes(b"", end=True)
        assert peer.await_end() == "closed"

    def test_an_http_1_client_of_the_same_port(self, ports: tuple[int, int]) -> None:
        with connect(f"ws://127.0.0.1:{ports[0]}/old", proxy=None) as client:
            client.send("hello")
            assert client.recv() == "hello"


class TestBareBackend:
    def test_each_half_ends_by_itself(self, peer: Http2Peer, backend: RecordingBackend) -> None:
        ended = threading.Event()

        def half_closing(exchange: Exchange) -> None:
            exchange.send_head(101, [("Connection", "Upgrade"), ("Upgrade", "websocket")])
            exchange.send(b"that is all I have to say")
            exchange.finish_writing()
            ended.set()

        backend.script = half_closing
        stream = WebSocketStream(peer, 1)
        assert stream.open("/raw") == 200
        message = peer.await_message(1)
        assert (message.content, message.reset) == (b"that is all I have to say", None)
        stream.send_bytes(b"I go on")
        assert not ended.wait(0.1)
        stream.send_bytes(b"", end=True)
        assert ended.wait(10)
        peer.round_trip()
        assert message.reset is None

    def test_the_clients_half_ends_first(self, peer: Http2Peer, backend: RecordingBackend) -> None:
        def listening(exchange: Exchange) -> None:
            exchange.send_head(101, [("Connection", "Upgrade"), ("Upgrade", "websocket")])
            heard = b""
            while data := exchange.receive():
                heard += data
            exchange.send(b"heard " + heard)
            exchange.close()

        backend.script = listening
        stream = WebSocketStream(peer, 1)
        assert stream.open("/raw") == 200
        stream.send_bytes(b"all of ")
        stream.send_bytes(b"it", end=True)
        message = peer.await_message(1)
        assert (message.content, message.reset) == (b"heard all of it", None)

    def test_what_the_backend_sees_is_an_upgrade(self, peer: Http2Peer, backend: RecordingBackend) -> None:
        backend.script = lambda exchange: exchange.respond(403, body=b"no")
        stream = WebSocketStream(peer, 1)
        assert stream.open("/raw?x") == 403
        message = peer.await_message(1)
        assert message.content == b"no"
        peer.await_that(lambda: message.reset == Code.NO_ERROR, "no interest in the rest")
        (seen,) = backend.requests
        assert (seen.method, seen.target) == ("GET", "/raw?x")
        assert (seen.all("Connection"), seen.all("Upgrade")) == (["upgrade"], ["websocket"])
        assert [len(key) for key in seen.all("Sec-WebSocket-Key")] == [24]
        assert seen.all("Sec-WebSocket-Version") == ["13"]
        assert not seen.all("Content-Length") + seen.all("Transfer-Encoding")

    def test_a_backend_that_answers_with_a_page_has_not_opened_a_tunnel(
        self, peer: Http2Peer, backend: RecordingBackend
    ) -> None:
        backend.script = lambda exchange: exchange.respond(200, body=b"<html>")
        assert WebSocketStream(peer, 1).open("/raw") == 502

    def test_a_tunnel_that_nobody_uses_ends(
        self,
        gateway: Gateway,
        ports: tuple[int, int],
        authority: Authority,
        backend: RecordingBackend,
    ) -> None:
        gone = threading.Event()

        def silent(exchange: Exchange) -> None:
            exchange.send_head(101, [("Connection", "Upgrade"), ("Upgrade", "websocket")])
            exchange.await_end()
            gone.set()

        backend.script = silent
        gateway.configure(
            listeners=[listener(ports[0], http2=True, timeouts={"idleBetweenRequests": "300ms"})],
            destinations=[destination("raw", backend.port)],
            routes=[route("raw", forward=forward("raw"))],
        )
        with connected(ports, authority, secure=False) as peer:
            stream = WebSocketStream(peer, 1)
            assert stream.open("/raw") == 200
            message = peer.await_message(1)
            assert message.ended
            assert gone.wait(10)
