"""Tokens before a real gateway with two workers, whose keys come over TLS."""

from __future__ import annotations

import json
from typing import Any

import grpc

from tests.support import tls_upstream
from tests.support.conditions import eventually
from tests.support.gateway import Gateway, destination, forward, listener, route
from tests.support.grpc_client import Client, channel, failure, http2_destination
from tests.support.interop_service import InteropServer
from tests.support.jwks_server import JwksServer
from tests.support.raw_http import Connection, Response
from tests.support.recording_backend import RecordingBackend
from tests.support.tokens import ISSUER, Issuer, jwks, live_claims

OLD, NEW = Issuer("RS256", kid="old"), Issuer("EdDSA", kid="new")


def ask(connection: Connection, token: bytes) -> Response:
    headers = [("Authorization", f"Bearer {token.decode()}"), ("X-User", "root")]
    return connection.exchange("GET", "/", headers=headers)


def test_tokens_before_a_gateway(gateway: Gateway, port: int, backend: RecordingBackend) -> None:
    with JwksServer(jwks(OLD.jwk), tls=tls_upstream.serving()) as server:
        settings: dict[str, Any] = {
            "issuer": ISSUER,
            "audiences": ["shop"],
            "jwksDestinationId": "issuer",
            "jwksPath": "/keys",
            "claimToHeaders": [{"expr": "claims.sub", "header": "X-User"}],
        }
        gateway.configure(
            listeners=[listener(port)],
            destinations=[destination("b", backend.port), tls_upstream.secured(server.port, "issuer")],
            routes=[route("r", forward=forward("b")) | {"middlewareIds": ["tokens"]}],
            middlewares=[{"id": "tokens", "name": "tokens", "type": "jwt", "jwt": settings}],
        )
        # Each worker has its keys.
        eventually(lambda: len(server.requests) == 2, what="both workers have asked for keys")
        clients = [Connection(port) for _ in range(20)]
        try:
            for client in clients:
                response = ask(client, OLD.token(live_claims()))
                assert response.status == 200, response.body
                headers = dict(json.loads(response.body)["headers"])
                assert headers["x-user"] == "ann"
                assert not {"authorization", "Authorization"} & headers.keys()
            server.document = jwks(NEW.jwk)
            token = NEW.token(live_claims())
            assert {ask(client, token).status for client in clients} == {200}
            assert len(server.requests) == 4
            # The old key is gone from the set, and what was signed by it has no value any more.
            for client in clients:
                response = ask(client, OLD.token(live_claims()))
                assert (response.status, response.body) == (401, b'{"error":"token validation failed"}')
        finally:
            for client in clients:
                client.close()


def test_tokens_before_a_service_of_grpc(
    gateway: Gateway, port: int, interop_servers: dict[bool, InteropServer]
) -> None:
    server = interop_servers[False]
    settings = {"issuer": ISSUER, "jwksInline": jwks(NEW.jwk).decode(), "assertClaims": ["claims.sub == 'ann'"]}
    gateway.configure(
        listeners=[listener(port, http2=True)],
        destinations=[http2_destination(server.port)],
        routes=[route("calls", {"grpc": True}, forward=forward("backend")) | {"middlewareIds": ["tokens"]}],
        middlewares=[{"id": "tokens", "name": "tokens", "type": "jwt", "jwt": settings}],
    )
    with channel(port) as opened:
        client = Client(opened, server)

        def call(**claims: Any) -> Any:
            token = NEW.token(live_claims(**claims)).decode()
            return client.unary(method="EmptyCall", metadata=(("authorization", f"Bearer {token}"),))

        assert call()[1].code() is grpc.StatusCode.OK
        assert failure(lambda: client.unary(method="EmptyCall")) == ("UNAUTHENTICATED", "missing authorization token")
        assert failure(lambda: call(iss="other")) == ("UNAUTHENTICATED", "token validation failed")
        assert failure(lambda: call(sub="bob")) == ("PERMISSION_DENIED", "claim assertion failed")
