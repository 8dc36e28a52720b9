"""What templates can say of a request together with its response, as lines of access logs do."""

from __future__ import annotations

from typing import Final, Protocol

from vrata.policy.template import REQUEST_PLACEHOLDERS, Placeholders, RequestValues


class ExchangeValues(RequestValues, Protocol):
    """A request and its response. Before there is one, its numbers are 0 and its fields are empty."""

    @property
    def identifier(self) -> str:
        """A UUID of the request."""
        ...

    @property
    def time(self) -> str:
        """Now, as RFC 3339 writes it."""
        ...

    @property
    def client_ip(self) -> str:
        """The address of the client."""
        ...

    @property
    def status(self) -> int:
        """That of the response."""
        ...

    @property
    def size(self) -> int:
        """Bytes of the response's content that were sent."""
        ...

    @property
    def seconds(self) -> float:
        """From the request to the end of its response."""
        ...

    def response_header(self, name: str) -> str:
        """First value of the response's field *name* (lower case)."""
        ...


def _id(exchange: ExchangeValues) -> str:
    return exchange.identifier


def _time(exchange: ExchangeValues) -> str:
    return exchange.time


def _client_ip(exchange: ExchangeValues) -> str:
    return exchange.client_ip


def _status(exchange: ExchangeValues) -> str:
    return str(exchange.status)


def _bytes(exchange: ExchangeValues) -> str:
    return str(exchange.size)


def _response_header(exchange: ExchangeValues, name: str) -> str:
    return exchange.response_header(name)


def _milliseconds(exchange: ExchangeValues) -> str:
    return str(int(exchange.seconds * 1e3))


def _microseconds(exchange: ExchangeValues) -> str:
    return str(int(exchange.seconds * 1e6))


def _seconds(exchange: ExchangeValues) -> str:
    return f"{exchange.seconds:.3f}"


EXCHANGE_PLACEHOLDERS: Final[Placeholders[ExchangeValues]] = Placeholders(
    {
        **REQUEST_PLACEHOLDERS.values,
        "id": _id,
        "time": _time,
        "request.clientIp": _client_ip,
        "response.status": _status,
        "response.bytes": _bytes,
        "duration.ms": _milliseconds,
        "duration.us": _microseconds,
        "duration.s": _seconds,
    },
    {**REQUEST_PLACEHOLDERS.fields, "response.header.": _response_header},
)
"""What lines of access logs may have."""
