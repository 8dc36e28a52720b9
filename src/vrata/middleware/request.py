"""A request as a middleware sees it."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from vrata.middleware.headers import Headers, HeaderValues
from vrata.middleware.query import Query
from vrata.wire.http1.target import decoded_path


class Request:
    """One request on its way to what answers it.

    Only the headers, and a body that was asked for, can be changed, and only before the request goes on. Everything
    else is as the client sent it, or as the gateway knows it.

    A test makes one of what matters to it::

        Request("GET", "/orders?page=2", {"X-Tenant": "acme"}, claims={"sub": "ada"})
    """

    __slots__ = (
        "_body",
        "_claims",
        "_client_ip",
        "_frozen",
        "_has_new_body",
        "_headers",
        "_host",
        "_method",
        "_own_claims",
        "_path",
        "_query",
        "_request_id",
        "_scheme",
        "_state",
        "_target",
    )

    def __init__(
        self,
        method: str = "GET",
        target: str = "/",
        headers: HeaderValues = (),
        *,
        client_ip: str = "127.0.0.1",
        scheme: str = "http",
        host: str = "localhost",
        request_id: str = "",
        claims: Mapping[str, Any] | None = None,
        body: bytes | None = None,
    ) -> None:
        self._method = method
        self._target = target
        self._headers = headers if isinstance(headers, Headers) else Headers(headers)
        self._client_ip = client_ip
        self._scheme = scheme
        self._host = host
        self._request_id = request_id
        self._claims = claims
        self._own_claims: dict[str, Any] | None = None
        self._body = body
        self._path: str | None = None
        self._query: Query | None = None
        self._state: dict[str, Any] | None = None
        self._has_new_body = False
        self._frozen = False

    def __repr__(self) -> str:
        return f"<Request {self._method} {self._target}>"

    @property
    def method(self) -> str:
        """The method, as received."""
        return self._method

    @property
    def target(self) -> str:
        """Path and query as received, not decoded: ``/a%20b?c=d``."""
        return self._target

    @property
    def path(self) -> str:
        """The path, percent-decoded once, without the query: what routes are matched with.

        Bytes that are not UTF-8 are lone surrogates.
        """
        if self._path is None:
            self._path = decoded_path(self._target.partition("?")[0].encode("ascii", "replace"))
        return self._path

    @property
    def query(self) -> Query:
        """The parameters of the query."""
        if self._query is None:
            self._query = Query(self._target.partition("?")[2])
        return self._query

    @property
    def headers(self) -> Headers:
        """The header fields, without ``Host`` (:attr:`host`); changes reach whatever comes after this middleware."""
        return self._headers

    @property
    def client_ip(self) -> str:
        """The client's address: what a trusted proxy says, else that of the connection."""
        return self._client_ip

    @property
    def scheme(self) -> str:
        """``http`` or ``https``: what a trusted proxy says that its client used, else that of the connection."""
        return self._scheme

    @property
    def host(self) -> str:
        """The host that is asked for, in lower case, without port."""
        return self._host

    @property
    def request_id(self) -> str:
        """What ``X-Request-Id`` says to the upstream and in logs."""
        return self._request_id

    @property
    def claims(self) -> Mapping[str, Any] | None:
        """The claims of the token that a ``jwt`` middleware before this one has verified; None when there was none.

        A copy that is this middleware's own.
        """
        if self._claims is not None and self._own_claims is None:
            # The gateway keeps them for other requests with the same token, which no change of a user's is to reach.
            self._own_claims = deepcopy(dict(self._claims))
        return self._own_claims

    @property
    def body(self) -> bytes:
        """The whole body. Raises ``ValueError`` unless the middleware's ``requestBody`` is ``buffered``."""
        if self._body is None:
            raise ValueError('the request\'s body is not at hand: the middleware needs "requestBody": "buffered"')
        return self._body

    @body.setter
    def body(self, body: bytes) -> None:
        if self._body is None:
            raise ValueError('the request\'s body cannot be changed: the middleware needs "requestBody": "buffered"')
        if self._frozen:
            raise ValueError("the request has gone on: its body cannot be changed any more")
        if not isinstance(body, bytes):
            raise TypeError(f"the body must be bytes, not {type(body).__name__}")
        self._body = bytes(body)
        self._has_new_body = True

    @property
    def state(self) -> dict[str, Any]:
        """Yours: what ``on_request`` leaves here ``on_response`` finds, for this request and this middleware alone."""
        if self._state is None:
            self._state = {}
        return self._state

    # -- for the gateway ----------------------------------------------------------------------------------------------

    def _freeze(self) -> None:
        """The request has gone on: what is changed from now on would have no effect."""
        self._frozen = True
        self._headers._frozen = True
