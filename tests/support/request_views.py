"""A request as routing sees it, made by hand, that tells what was read of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vrata.expressions import PeerCertificate, json_object


class FakeRequest:
    """Implements ``RequestView``. ``read`` holds the members that were asked for, beside the path."""

    def __init__(
        self,
        path: str = "/",
        *,
        method: str = "GET",
        host: str = "example.com",
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
        scheme: str = "http",
        client_ip: str = "192.0.2.1",
        body: bytes | None = None,
        body_pending: bool = False,
        certificate: PeerCertificate | None = None,
    ) -> None:
        self.path = path
        self.scheme = scheme
        self.client_ip = client_ip
        self.body = body
        self.body_pending = body_pending
        self.certificate = certificate
        self._method = method
        self._host = host
        self._headers = dict(headers or {})
        self._query = dict(query or {})
        self.read: set[str] = set()

    def __repr__(self) -> str:
        return f"<{self._method} {self._host} {self.path!r} {self._headers} {self._query}>"

    @property
    def method(self) -> str:
        self.read.add("method")
        return self._method

    @property
    def host(self) -> str:
        self.read.add("host")
        return self._host

    def header(self, name: str) -> str | None:
        self.read.add("headers")
        return self._headers.get(name)

    def query_parameter(self, name: str) -> str | None:
        self.read.add("query")
        return self._query.get(name)

    def header_values(self) -> Mapping[str, str]:
        self.read.add("headers")
        return self._headers

    def query_parameters(self) -> Mapping[str, str]:
        self.read.add("query")
        return self._query

    @property
    def body_json(self) -> Mapping[str, Any] | None:
        return json_object(self.body) if self.body is not None else None
