"""The client of a :class:`Http2Connection`, on a transport in memory and a clock that the test moves.

It speaks by hyper-h2's side for clients, and shows what came of each stream.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from h2 import events
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.settings import SettingCodes

from tests.support.downstream_client import DownstreamClient, HandledRequest, local, settings
from vrata.proxy.listener.http2_connection import Http2Connection
from vrata.proxy.listener.request import DownstreamRequest
from vrata.proxy.listener.settings import ListenerSettings
from vrata.wire.http1.head import ResponseHead

Fields = list[tuple[str, str]]


@dataclass
class Answer:
    """What has come on a stream."""

    informational: list[int] = field(default_factory=list)
    fields: Fields = field(default_factory=list)
    content: bytes = b""
    trailers: Fields = field(default_factory=list)
    ended: bool = False
    reset: int | None = None
    """The code of RST_STREAM."""

    @property
    def status(self) -> int:
        return int(dict(self.fields)[":status"])

    def lines(self) -> set[str]:
        """The fields but for the date."""
        return {f"{name}: {value}" for name, value in self.fields if name not in (":status", "date")}


class MultiplexingClient(DownstreamClient):
    """A connection with prior knowledge of HTTP/2 whose settings have been exchanged."""

    def __init__(
        self,
        listener_settings: ListenerSettings | None = None,
        answer: Callable[[DownstreamRequest], None] | None = None,
        *,
        window: int = 65535,
    ) -> None:
        """*window* is how much of a response a stream takes before the test lets it have more."""
        super().__init__(listener_settings or settings(http2=True), answer)
        self.h2 = H2Connection(
            H2Configuration(
                client_side=True,
                header_encoding="latin-1",
                validate_outbound_headers=False,
                normalize_outbound_headers=False,
            )
        )
        self.h2.local_settings.update({SettingCodes.INITIAL_WINDOW_SIZE: window, SettingCodes.ENABLE_PUSH: 0})
        self.h2.local_settings.acknowledge()
        self.answers: dict[int, Answer] = {}
        self.goaways: list[events.ConnectionTerminated] = []
        self.pings: list[bytes] = []
        self.acknowledged: list[bytes] = []
        self.takes_content = True
        """Give every window back at once."""

    @classmethod
    def started(
        cls,
        listener_settings: ListenerSettings | None = None,
        answer: Callable[[DownstreamRequest], None] | None = None,
        *,
        window: int = 65535,
    ) -> MultiplexingClient:
        """A client that has sent its settings and has got the listener's."""
        client = cls(listener_settings, answer, window=window)
        client.start()
        return client

    def start(self) -> None:
        self.h2.initiate_connection()
        self.flush()

    @property
    def served_by(self) -> Http2Connection:
        """What serves the connection."""
        (found,) = self.owner.connections
        assert isinstance(found, Http2Connection)
        return found

    def believe_in_streams(self, limit: int) -> None:
        """Take *limit* for the number of streams that may be open, whatever the listener says."""
        self.h2.remote_settings[SettingCodes.MAX_CONCURRENT_STREAMS] = limit
        self.h2.remote_settings.acknowledge()

    def flush(self) -> None:
        """Send what there is, and take in what comes of it."""
        data = self.h2.data_to_send()
        if data:
            self.send(data)
        self.take_in()

    def take_in(self) -> None:
        """Read what has arrived."""
        self.loop.settle()
        for event in self.h2.receive_data(self.transport.take()):
            self._take(event)
        data = self.h2.data_to_send()
        if data and not self.transport.is_closing() and not self.transport.ended and self.transport.is_reading():
            self.send(data)
            self.take_in()

    def request(
        self,
        method: str = "GET",
        path: str = "/",
        fields: Iterable[tuple[str, str]] = (),
        *,
        end: bool = True,
        pseudo: Iterable[tuple[str, str]] = (),
        authority: str = "a",
    ) -> int:
        """Begin a stream; returns its number."""
        number = self.h2.get_next_available_stream_id()
        head = [(":method", method), (":scheme", "http"), (":authority", authority), (":path", path), *pseudo, *fields]
        self.answers[number] = Answer()
        self.h2.send_headers(number, head, end_stream=end)
        self.flush()
        return number

    def content_of(self, number: int, content: bytes, *, end: bool = False) -> None:
        """Send content on a stream."""
        self.h2.send_data(number, content, end_stream=end)
        self.flush()

    def reset_stream(self, number: int, code: int = 8) -> None:
        self.h2.reset_stream(number, code)
        self.flush()

    def open_window(self, size: int, number: int | None = None) -> None:
        """Take *size* bytes more, on a stream or on the connection."""
        self.h2.increment_flow_control_window(size, number)
        self.flush()

    def handled_at(self, path: str) -> HandledRequest:
        """The request for *path*."""
        (found,) = [each for each in self.handled if each.request.head.target == path.encode()]
        return found

    def answer(self, body: bytes = b"own", status: int = 200) -> None:
        self.last.request.respond(local(body, status))
        self.take_in()

    def respond(self, head: ResponseHead, content: bytes = b"", *, end: bool = False) -> None:
        self.last.request.start_response(head, content, end)
        self.take_in()

    def content(self, content: bytes, *, end: bool = False) -> None:
        self.last.request.send_content(content, end)
        self.take_in()

    def drain(self) -> None:
        super().drain()
        self.take_in()

    def advance(self, seconds: float) -> None:
        """Let time pass, and read what has come meanwhile."""
        self.loop.advance(seconds)
        self.take_in()

    def _take(self, event: events.Event) -> None:
        if isinstance(event, events.ConnectionTerminated):
            self.goaways.append(event)
        elif isinstance(event, events.PingReceived):
            self.pings.append(event.ping_data)
        elif isinstance(event, events.PingAckReceived):
            self.acknowledged.append(event.ping_data)
        number = getattr(event, "stream_id", None)
        if not number or number not in self.answers:
            return
        answer = self.answers[number]
        if isinstance(event, events.InformationalResponseReceived):
            answer.informational.append(int(dict(_decoded(event.headers))[":status"]))
        elif isinstance(event, events.ResponseReceived):
            answer.fields = _decoded(event.headers)
        elif isinstance(event, events.DataReceived):
            answer.content += event.data
            if self.takes_content and event.flow_controlled_length:
                self.h2.acknowledge_received_data(event.flow_controlled_length, number)
        elif isinstance(event, events.TrailersReceived):
            answer.trailers = _decoded(event.headers)
        elif isinstance(event, events.StreamEnded):
            answer.ended = True
        elif isinstance(event, events.StreamReset):
            answer.reset = int(event.error_code)


def _decoded(fields: Iterable[tuple[bytes | str, bytes | str]]) -> Fields:
    return [(_text(name), _text(value)) for name, value in fields]


def _text(value: bytes | str) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else value
