"""What a snapshot says of one listener, ready for use: replaced as a whole on a swap."""

from __future__ import annotations

import ssl
from dataclasses import dataclass

from vrata.policy.client_address import TrustedProxies
from vrata.proxy.contracts import OwnAnswers
from vrata.proxy.meters import ListenerMeters
from vrata.proxy.tracing.tracer import Tracer
from vrata.wire.http1.errors import MalformedMessage
from vrata.wire.http1.head import MAX_HEAD, RequestHead
from vrata.wire.http1.path import PathNormalization


@dataclass(frozen=True)
class ListenerTimeouts:
    """The client-side limits in seconds; infinite where the configuration says ``0s``."""

    client_header: float = 10.0
    """First byte of a request to the end of its head."""
    client_request: float = 60.0
    """First byte of a request to the end of its body."""
    client_response: float = 60.0
    """First byte of a response to its last."""
    idle_between_requests: float = 120.0
    """End of a response to the first byte of the next request."""


@dataclass(frozen=True)
class TlsTermination:
    """How a listener speaks TLS."""

    context: ssl.SSLContext
    """For new connections; another one when anything about it changed."""
    terms: tuple[str, ...]
    """Who is let in, and how. Connections that were let in on other terms are not kept."""
    http2: bool = False
    """Whether HTTP/2 is among what is agreed on."""


@dataclass(frozen=True)
class ListenerSettings:
    """Everything a connection consults."""

    listener_id: str
    name: str
    address: str
    """``host:port`` as bound."""
    answers: OwnAnswers
    """What clients are told of failures, and of requests that are none."""
    timeouts: ListenerTimeouts = ListenerTimeouts()
    trusted_proxies: TrustedProxies | None = None
    """The peers whose word on their own clients is taken."""
    proxy_protocol: TrustedProxies | None = None
    """The peers that may connect, with a header of the PROXY protocol; None where none is expected."""
    server: bytes | None = None
    """Value that replaces the Server field of every response."""
    paths: PathNormalization | None = None
    """What brings paths into their normal form; None leaves them as they are."""
    max_fields_size: int = 0
    """Bytes of names and values over all header lines; 0 = no limit beyond :attr:`max_head`."""
    max_head: int = MAX_HEAD
    """Bytes of a whole request head."""
    max_connections: int = 0
    """Clients over all workers; 0 = any number."""
    meters: ListenerMeters | None = None
    """What counts the listener's traffic; None where no metrics are wanted."""
    tracer: Tracer | None = None
    """What gives requests their traces; None where none are wanted."""
    http2: bool = False
    """Whether clients may speak HTTP/2."""
    tls: TlsTermination | None = None
    """None where clients speak in clear."""

    def admit(self, head: RequestHead) -> None:
        """Give *head*, which was just read, its path in the form in which everybody is to see it.

        Raises :class:`~vrata.wire.http1.errors.MalformedMessage` when it has no such form, or too large fields.
        """
        if self.max_fields_size and head.fields_size > self.max_fields_size:
            raise MalformedMessage(431, "request headers too large")
        if self.paths is not None:
            self.paths.settle(head)
