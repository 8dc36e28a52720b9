"""What decides about a supposed request on its way through its middlewares."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vrata.model.destination import Destination
from vrata.proxy.contracts import ClientRequest
from vrata.proxy.listener.request import DownstreamRequest

NEEDS_BODY = "needs the body, which was not given"


@dataclass(frozen=True)
class Circumstances:
    """What those who say what a middleware does may ask."""

    request: DownstreamRequest
    """As the middlewares further out have left it."""
    body: bytes | None
    """All of it; None where the head announces one that was not given."""
    made_identifier: bytes
    """What the proxy has made for X-Request-Id, each time another one; empty when the client's is taken."""
    destinations: Mapping[str, Destination]
    now: int
    """Seconds since 1970."""

    def exceeds(self, limit: int) -> bool:
        """Tell whether the body is longer than *limit* bytes, by what the head says of it or by itself."""
        return self.request.head.content_length > limit or len(self.body or b"") > limit


class NothingInside:
    """What is inside of a stage that is only asked to decide. Implements ``Inner`` of the stages."""

    def run(self, request: ClientRequest, match: Any, content: bytes, end: bool) -> None:
        """Nothing goes on by this way."""
        raise AssertionError("a stage that decides does not pass requests on")


NOTHING_INSIDE = NothingInside()
