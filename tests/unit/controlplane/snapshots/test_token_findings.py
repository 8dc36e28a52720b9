from __future__ import annotations

from typing import Any

import pytest

from tests.support.tokens import jwk, jwks, private_key, public_pem
from tests.unit.controlplane.snapshots.staging import (
    NOTHING_ALLOWED,
    captured,
    captured_with,
    destination,
    listener,
    middleware,
    route,
)
from vrata.controlplane.snapshots.capture import SnapshotRefusedError
from vrata.controlplane.snapshots.resolution import Sources

EC = private_key("P-256")


def warnings_of(**settings: Any) -> list[str]:
    jwt = {"issuer": "i"} | settings
    snapshot = captured(
        listeners=[listener()],
        routes=[route()],
        destinations=[destination()],
        middlewares=[middleware(type="jwt", jwt=jwt)],
    )
    return [found.reason for found in snapshot.warnings if found.path.startswith("jwt")]


@pytest.mark.parametrize(
    ("text", "warning"),
    [
        ('{"keys":[]}', "has no usable key, so every request gets 401"),
        (
            jwks({"kty": "oct", "k": "AAAA"}).decode(),
            'has no usable key, so every request gets 401: keys[0]: its "kty" is none of RSA, EC, OKP',
        ),
        (
            jwks(jwk(EC), jwk(EC, use="enc")).decode(),
            'has keys that are left out: keys[1]: its "use" is not "sig"',
        ),
    ],
)
def test_keys_that_verify_nothing(text: str, warning: str) -> None:
    assert warnings_of(jwksInline=text) == [warning]


@pytest.mark.parametrize("text", [jwks(jwk(EC)).decode(), public_pem(EC).decode()])
def test_keys_that_are_good(text: str) -> None:
    assert warnings_of(jwksInline=text) == []


def test_keys_that_are_elsewhere() -> None:
    assert warnings_of(jwksDestinationId="d1", jwksPath="/keys") == []


def test_a_secret_that_is_no_header_for_claims() -> None:
    claims = [{"expr": "claims.sub", "header": "{{secret:value:header}}"}]
    settings = {"issuer": "i", "jwksInline": jwks(jwk(EC)).decode(), "claimToHeaders": claims}
    with pytest.raises(SnapshotRefusedError) as refused:
        captured_with(
            Sources({"header": "Host"}, {}, NOTHING_ALLOWED), middlewares=[middleware(type="jwt", jwt=settings)]
        )
    (found,) = refused.value.findings
    assert found.path == "jwt.claimToHeaders[0].header"
    assert found.reason == 'must not be "Host": that is set by the proxy alone'


def test_settings_of_another_type_count_for_nothing() -> None:
    other = middleware(jwt={"issuer": "i", "jwksInline": '{"keys":[]}'})
    snapshot = captured(listeners=[listener()], routes=[route()], destinations=[destination()], middlewares=[other])
    assert [found.path for found in snapshot.warnings] == [""]
