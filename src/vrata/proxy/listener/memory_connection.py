"""A connection that no client has: requests on it are the proxy's own, and are answered into memory."""

from __future__ import annotations

from vrata.proxy.contracts import Failure, LocalResponse, OwnAnswers, RequestHandler
from vrata.proxy.listener.hop import Hop
from vrata.proxy.listener.request import DownstreamRequest
from vrata.wire.http1.head import ResponseHead


class MemoryConnection:
    """Implements ``ServingConnection`` of :mod:`vrata.proxy.listener.request` for actions that answer at once."""

    def __init__(self, hop: Hop, answers: OwnAnswers) -> None:
        self.hop = hop
        self.peer = hop.peer
        self.answers = answers
        self.response: LocalResponse | None = None
        """What the action has answered."""

    @property
    def is_http2(self) -> bool:
        """Requests on it are those of HTTP/1.1."""
        return False

    def serves(self, request: DownstreamRequest) -> bool:
        """There is one request."""
        return True

    def respond(self, response: LocalResponse) -> None:
        """Keep the response."""
        self.response = response

    def handled_by(self, handler: RequestHandler) -> None:  # noqa: D102
        raise AssertionError("only actions that answer at once are run")

    def limited_by_handler(self) -> None:  # noqa: D102
        raise AssertionError("only actions that answer at once are run")

    def fail(self, failure: Failure) -> None:  # noqa: D102
        raise AssertionError("only actions that answer at once are run")

    def inform(self, head: ResponseHead) -> None:  # noqa: D102
        raise AssertionError("only actions that answer at once are run")

    def start_response(self, head: ResponseHead, content: bytes, end: bool, trailers: bytes = b"") -> None:  # noqa: D102
        raise AssertionError("only actions that answer at once are run")

    def send_content(self, content: bytes, end: bool, trailers: bytes = b"") -> None:  # noqa: D102
        raise AssertionError("only actions that answer at once are run")

    def end_tunnel(self) -> None:  # noqa: D102
        raise AssertionError("only actions that answer at once are run")

    def pause_reading(self) -> None:
        """Nothing is read."""

    def resume_reading(self) -> None:
        """Nothing is read."""
