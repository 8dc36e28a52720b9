"""``accessLog``: the lines, with what is known of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from vrata.model.middleware.access_log import AccessLog, LogEntry
from vrata.policy.exchange_template import EXCHANGE_PLACEHOLDERS, ExchangeValues
from vrata.policy.log_line import json_line, pairs_line
from vrata.policy.template import Placeholders
from vrata.proxy.explain.circumstances import Circumstances
from vrata.proxy.explain.effect import Effect
from vrata.proxy.listener.request import DownstreamRequest
from vrata.proxy.middleware.access_log import response_field
from vrata.proxy.middleware.stage import Place
from vrata.wire.http1.head import RequestHead, ResponseHead

_OF_THE_MOMENT: Final = frozenset({"id", "time", "duration.ms", "duration.us", "duration.s"})
"""Placeholders whose values are others each time."""
_OF_THE_RESPONSE: Final = frozenset({"response.status", "response.bytes"})
_FIELD_OF_THE_RESPONSE: Final = "response.header."


class SupposedExchange:
    """Implements ``ExchangeValues``, and ``ResponseObserver`` to see the response as it is when it comes there."""

    identifier = time = ""
    seconds = 0.0

    def __init__(self, request: DownstreamRequest) -> None:
        self._request = request
        self.head: RequestHead = request.head
        """As it came there, whatever is edited further inside."""
        self.response: ResponseHead | None = None

    @property
    def scheme(self) -> str:
        """``http`` or ``https``."""
        return self._request.scheme

    @property
    def client_ip(self) -> str:
        """The address of the client."""
        return self._request.client_ip

    @property
    def status(self) -> int:
        """That of the response."""
        return self.response.status if self.response is not None else 0

    @property
    def size(self) -> int:
        """Bytes of the response's content that are sent."""
        if self.response is None or not self.response.body_expected(self.head.method):
            return 0
        return max(self.response.content_length, 0)

    def response_header(self, name: str) -> str:
        """First value of the response's field *name*; empty without one."""
        return response_field(self.response, name) if self.response is not None else ""

    def on_response(self, head: ResponseHead) -> ResponseHead:
        """The response begins."""
        self.response = head
        return head

    def on_response_end(self, size: int, complete: bool) -> None:
        """Nothing is left to do."""


def effect(settings: AccessLog, place: Place, circumstances: Circumstances) -> Effect:
    """Write the lines into the explanation."""
    exchange = SupposedExchange(circumstances.request)
    lines: dict[str, str] = {}
    if settings.on_request is not None:
        # As on the data path, there is no response then: its values are empty.
        lines["onRequest"] = _line(settings, settings.on_request, exchange, _known())
    after = settings.on_response
    if after is None:
        return Effect(_text(settings, lines), {"path": settings.path, **lines})
    circumstances.request.observed_by(exchange)

    def finish(unfinished: Effect) -> None:
        known = _known() if exchange.response is not None else _known(response=False)
        lines["onResponse"] = _line(settings, after, exchange, known)
        unfinished.details |= lines
        unfinished.text = _text(settings, lines)

    return Effect("", {"path": settings.path, **lines}, sees_response=True, finish=finish)


def _text(settings: AccessLog, lines: Mapping[str, str]) -> str:
    return f"writes to {settings.path} {' and '.join(lines.values())}"


def _line(settings: AccessLog, entry: LogEntry, exchange: SupposedExchange, known: Placeholders[ExchangeValues]) -> str:
    make = json_line if settings.json_lines else pairs_line
    return make(entry.fields, known).render(exchange).decode("ascii").rstrip("\n")


def _known(*, response: bool = True) -> Placeholders[ExchangeValues]:
    """The placeholders that can be filled in; others stay as they are written."""
    unknown = _OF_THE_MOMENT if response else _OF_THE_MOMENT | _OF_THE_RESPONSE
    every = EXCHANGE_PLACEHOLDERS
    return Placeholders(
        {name: reader for name, reader in every.values.items() if name not in unknown},
        {name: reader for name, reader in every.fields.items() if response or name != _FIELD_OF_THE_RESPONSE},
    )
