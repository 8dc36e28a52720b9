"""What of a request decides, where endpoints are chosen by hash."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from vrata.policy.balancing.stable_hash import stable_hash
from vrata.policy.session_cookie import SessionCookie
from vrata.proxy.contracts import ClientRequest


class HashSource(Protocol):
    """One entry of a hash policy."""

    def value(self, request: ClientRequest, *, sets_cookies: bool) -> bytes:
        """What it says of *request*; empty when it says nothing. With *sets_cookies* it may give the client one."""
        ...


class HeaderSource(HashSource):
    """The first value of a header."""

    def __init__(self, name: str) -> None:
        self._name = name.lower()

    def value(self, request: ClientRequest, *, sets_cookies: bool) -> bytes:
        """Bytes as they came."""
        value = request.header(self._name)
        return value.encode("utf-8", "surrogateescape") if value else b""


class CookieSource(HashSource):
    """A session cookie, which a client that has none is given."""

    def __init__(self, cookie: SessionCookie) -> None:
        self._cookie = cookie

    def value(self, request: ClientRequest, *, sets_cookies: bool) -> bytes:
        """The session's identifier."""
        return request.session(self._cookie, starts=sets_cookies)


class AddressSource(HashSource):
    """The client's address."""

    def value(self, request: ClientRequest, *, sets_cookies: bool) -> bytes:
        """In text."""
        return request.client_ip.encode("ascii", "replace")


class HashKey:
    """The key by a list of sources: the first that says something wins, and the client's address is the last."""

    def __init__(self, sources: Sequence[HashSource], destination_id: str) -> None:
        """*destination_id* is hashed as well, so that what goes one way here need not there."""
        self._sources = [*sources, AddressSource()]
        self._salt = f":{destination_id}".encode()

    def of(self, request: ClientRequest, *, sets_cookies: bool) -> int:
        """The key of *request*, of 32 bits."""
        for source in self._sources:
            value = source.value(request, sets_cookies=sets_cookies)
            if value:
                return stable_hash(value + self._salt)
        return stable_hash(self._salt)
