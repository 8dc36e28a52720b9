"""Send the client elsewhere."""

from __future__ import annotations

from typing import Final
from urllib.parse import quote

from vrata.model.redirect import Redirect
from vrata.proxy.contracts import ClientRequest, LocalResponse

_PATH_SAFE: Final = "/:@!$&'()*+,;=%~"
_DEFAULT_PORTS: Final = {b"http": b":80", b"https": b":443"}


class RedirectAction:
    """One route's redirect: settings made once, a location for every request."""

    __slots__ = ("_host", "_path", "_scheme", "_status", "_strip_query", "_url")

    def __init__(self, entity: Redirect) -> None:
        self._status = entity.code
        self._url = entity.url.encode()
        self._scheme = entity.scheme.lower().encode("ascii")
        self._host = entity.host.encode()
        self._path = quote(entity.path, safe=_PATH_SAFE).encode("ascii")
        self._strip_query = entity.strip_query

    def run(self, request: ClientRequest, match: object, content: bytes, end: bool) -> None:
        """Answer *request*, whatever its content."""
        head = request.head
        location = self.location(request.scheme.encode(), head.authority, head.target)
        request.respond(LocalResponse(self._status, b"location: " + location + b"\r\n", b""))

    def location(self, scheme: bytes, authority: bytes, target: bytes) -> bytes:
        """Return the location for a request with *scheme*, *authority* (with its port) and *target*, each as received.

        A configured URL is the location. Otherwise it is the request's own URL with what is configured put in its
        place. It is absolute when scheme or host are configured, and else begins with the path.
        """
        if self._url:
            return self._url
        path, mark, query = target.partition(b"?")
        if self._path:
            path = self._path
        elif not path.startswith(b"/"):
            path = b"/"  # `OPTIONS *`
        rest = path if self._strip_query else path + mark + query
        host = self._host or authority
        # A request of HTTP/1.0 may come without Host; then no absolute location can be made of it.
        if (self._scheme or self._host) and host:
            new_scheme = self._scheme or scheme
            if new_scheme != scheme and not self._host:
                host = host.removesuffix(_DEFAULT_PORTS.get(scheme, b":"))
            return new_scheme + b"://" + host + rest
        if rest.startswith((b"//", b"/\\")):
            # A client would read a host name into it, and the location could be made to lead anywhere (RFC 3986 §4.2;
            # browsers take a backslash for a slash). A dot segment changes nothing but that (§5.2.4).
            return b"/." + rest
        return rest
