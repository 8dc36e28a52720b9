"""The hop from a peer to a listener: what the upstream is told of it, and whose request it is that came over it."""

from __future__ import annotations

from vrata.expressions import PeerCertificate
from vrata.policy.client_address import TrustedProxies
from vrata.wire.http1.forwarding import forwarding_lines, relayed_lines, told_host, told_scheme
from vrata.wire.http1.head import RequestHead


class Hop:
    """What is the same for all requests of a connection. Never changes."""

    __slots__ = (
        "_certificate",
        "_client_uris",
        "_forwarding",
        "_port",
        "_proxies",
        "_scheme",
        "address",
        "certificate",
        "peer",
        "peer_port",
    )

    def __init__(
        self,
        peer: bytes,
        scheme: bytes,
        address: str,
        trusted_proxies: TrustedProxies | None,
        client_uris: bytes = b"",
        certificate: PeerCertificate | None = None,
        peer_port: int = 0,
    ) -> None:
        """*peer* is the TCP peer's address in text, *scheme* is ``http`` or ``https``, *address* the listener's.

        *client_uris* are those of the peer's verified *certificate*, joined by ``;``. *peer_port* is 0 where it is not
        known.
        """
        self.peer = peer
        self.peer_port = peer_port
        self.address = address
        self.certificate = certificate
        self._scheme = scheme
        self._client_uris = client_uris
        self._port = address.rpartition(":")[2].encode("ascii")
        self._certificate = b"x-forwarded-client-cert: %s\r\n" % client_uris if client_uris else b""
        self._forwarding = forwarding_lines(scheme, self._port) + self._certificate
        # Looked up here, once per connection: None when nothing that the peer says of others is believed.
        trusted = trusted_proxies is not None and trusted_proxies.trusts(peer.decode("ascii"))
        self._proxies = trusted_proxies if trusted else None

    def __repr__(self) -> str:
        return f"<Hop {self.peer.decode()} {self._scheme.decode()} {self._port.decode()}>"

    def under(self, address: str, trusted_proxies: TrustedProxies | None) -> Hop:
        """The same hop where the listener has other settings."""
        return Hop(
            self.peer, self._scheme, address, trusted_proxies, self._client_uris, self.certificate, self.peer_port
        )

    def scheme_of(self, head: RequestHead) -> bytes:
        """``http`` or ``https``: what a trusted proxy says that its client used, else that of the connection."""
        if self._proxies is not None:
            told = told_scheme(head)
            if told is not None:
                return told
        return self._scheme

    def client_of(self, head: RequestHead) -> str:
        """The address of the client: the peer's, unless that is a trusted proxy."""
        peer = self.peer.decode("ascii")
        if self._proxies is None:
            return peer
        return self._proxies.client_of(peer, [value.decode("latin-1") for value in head.forwarded_for])

    def upstream_head(self, head: RequestHead, target: bytes, authority: bytes, lines: bytes = b"") -> bytes:
        """*head* as it goes to the upstream, with *target* and *authority* in it, and further *lines* in the end."""
        peer = self.peer
        if self._proxies is None:
            forwarding = self._forwarding + lines if lines else self._forwarding
            return head.emit(target=target, authority=authority, client=peer, forwarding=forwarding)
        forwarding = relayed_lines(head, client=peer, scheme=self._scheme, port=self._port) + self._certificate + lines
        return head.emit(target=target, authority=authority, client=peer, forwarding=forwarding, host=told_host(head))


def address_of(peer: str) -> bytes:
    """The address of a socket's *peer*. One for both families shows IPv4 peers as IPv6 ones (RFC 4291 §2.5.5.2)."""
    return (peer.removeprefix("::ffff:") if "." in peer else peer).encode("ascii")


NO_HOP = Hop(b"unknown", b"http", "", None)
"""That of a connection which is not made yet."""
