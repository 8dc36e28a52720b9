"""Which bucket a request belongs to."""

from __future__ import annotations

from typing import Any, Final, Protocol

from vrata.expressions import EvaluationError, Expression, compile_expression
from vrata.model.middleware.rate_limit import RateLimit
from vrata.policy.client_address import ClientNetworks, TrustedProxies
from vrata.proxy.contracts import BodyNeeded, ClientRequest

ADDRESS: Final = b"a"
"""The byte that values begin with which are addresses of clients."""
STATED: Final = b"v"
"""The one of those that a request, its token or an expression says."""


class Key(Protocol):
    """What tells clients apart. Values that are addresses never meet others."""

    def of(self, request: ClientRequest) -> bytes:
        """The value of *request*. Raises :class:`BodyNeeded` when that depends on a body still to come."""
        ...


def key_of(settings: RateLimit) -> Key:
    """The key that *settings* ask for. Raises :class:`ValueError` for what the control plane would have refused."""
    proxies = settings.trusted_proxies
    networks = ClientNetworks(settings.ipv6_prefix_length)
    client: Key = ProxiedAddress(networks, TrustedProxies(proxies)) if proxies else ClientAddress(networks)
    key = settings.key
    if key is None:
        return client
    if key.header:
        return HeaderKey(key.header.lower(), client)
    if key.claim:
        return ClaimKey(key.claim, client)
    return ExpressionKey(compile_expression(key.cel, any_result=True), client)


class ClientAddress(Key):
    """The network of the client's address, as the listener knows it."""

    __slots__ = ("_networks",)

    def __init__(self, networks: ClientNetworks) -> None:
        self._networks = networks

    def of(self, request: ClientRequest) -> bytes:
        """The network in text."""
        return ADDRESS + self._networks.of(request.client_ip).encode("ascii", "replace")


class ProxiedAddress(Key):
    """The network of the client's address, as the middleware's own trusted proxies tell it."""

    __slots__ = ("_networks", "_proxies")

    def __init__(self, networks: ClientNetworks, proxies: TrustedProxies) -> None:
        self._networks = networks
        self._proxies = proxies

    def of(self, request: ClientRequest) -> bytes:
        """The network in text."""
        lines = [value.decode("latin-1") for value in request.head.forwarded_for]
        client = self._proxies.client_of(request.peer.decode("ascii"), lines)
        return ADDRESS + self._networks.of(client).encode("ascii", "replace")


class HeaderKey(Key):
    """The first value of a header."""

    __slots__ = ("_name", "_otherwise")

    def __init__(self, name: str, otherwise: Key) -> None:
        """*name* in lower case; requests without it, or with an empty one, belong to *otherwise*."""
        self._name = name
        self._otherwise = otherwise

    def of(self, request: ClientRequest) -> bytes:
        """The value as received."""
        value = request.header(self._name)
        return STATED + value.encode("utf-8", "surrogateescape") if value else self._otherwise.of(request)


class ClaimKey(Key):
    """A claim of the verified token."""

    __slots__ = ("_name", "_otherwise")

    def __init__(self, name: str, otherwise: Key) -> None:
        """Requests without a verified token, or without the claim, belong to *otherwise*."""
        self._name = name
        self._otherwise = otherwise

    def of(self, request: ClientRequest) -> bytes:
        """The claim in text."""
        claims = request.claims
        value = text_of(claims.get(self._name)) if claims is not None else b""
        return STATED + value if value else self._otherwise.of(request)


class ExpressionKey(Key):
    """The value of an expression."""

    __slots__ = ("_expression", "_otherwise")

    def __init__(self, expression: Expression, otherwise: Key) -> None:
        """Requests for which there is no value belong to *otherwise*."""
        self._expression = expression
        self._otherwise = otherwise

    def of(self, request: ClientRequest) -> bytes:
        """The value in text."""
        expression = self._expression
        if expression.reads_body and request.body_pending:
            raise BodyNeeded(expression.text)
        try:
            value = text_of(expression.evaluate(request))
        except EvaluationError:
            value = b""
        return STATED + value if value else self._otherwise.of(request)


def text_of(value: Any) -> bytes:
    """*value*, of an expression or a claim, in text; empty when it is null, or a list or map: these name no client."""
    if isinstance(value, str):
        return value.encode("utf-8", "surrogatepass")  # JSON has any of them: "\\ud800"
    if isinstance(value, bytes):
        return value
    if isinstance(value, bool):
        return b"true" if value else b"false"
    return repr(value).encode("ascii") if isinstance(value, (int, float)) else b""
