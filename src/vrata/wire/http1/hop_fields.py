"""What the fields mean that are for one hop alone: Transfer-Encoding, Connection, TE and Upgrade."""

from __future__ import annotations

from vrata.wire.http1.errors import MalformedMessage


def check_transfer_encoding(value: bytes, *, already: bool) -> None:
    """Accept ``chunked``, once; *already* says that it was seen. Raises :class:`MalformedMessage`."""
    coding = value.lower()
    if not already and coding == b"chunked":
        return
    # RFC 9112 §6.1: an unknown coding is 501; chunked must come once and last.
    if not already and coding.rpartition(b",")[2].strip(b" \t") == b"chunked" and coding.count(b"chunked") == 1:
        raise MalformedMessage(501, "unsupported transfer coding")
    raise MalformedMessage(400, "malformed Transfer-Encoding")


def read_connection(values: list[bytes], minor: int) -> tuple[bool, set[bytes]]:
    """Persistence (RFC 9112 §9.3), and the names of the fields that Connection nominates (RFC 9110 §7.6.1)."""
    options = {option.strip(b" \t").lower() for value in values for option in value.split(b",")}
    keep_alive = b"close" not in options and (minor == 1 or b"keep-alive" in options)
    return keep_alive, options - {b"close", b"keep-alive", b""}


def names_trailers(te: bytes) -> bool:
    """True when ``trailers`` is a member of *te*, a value of TE (RFC 9110 §10.1.4)."""
    # What every call of gRPC says.
    return te == b"trailers" or any(member.strip(b" \t").lower() == b"trailers" for member in te.split(b","))


def asks_for_websocket(protocols: list[bytes], nominated: set[bytes], minor: int) -> bool:
    """True for an upgrade (RFC 9110 §7.8) to WebSocket and nothing else.

    Other protocols do not go on. An upstream that switched to HTTP/2 would take requests through the tunnel that no
    route has seen.
    """
    return minor == 1 and b"upgrade" in nominated and [each.lower() for each in protocols] == [b"websocket"]
