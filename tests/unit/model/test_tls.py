"""TLS material in entities: PEM text is loaded, a path is not looked at, a reference is left for later."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.model.material import material
from tests.unit.model.samples import MINIMAL, middleware, with_member
from vrata.model import Destination, InvalidEntity, Listener, Middleware

OURS = material("ours")
OTHER = material("other")
BROKEN = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
REFERENCE = "{{secret:value:tls}}"
REFERENCE_IN_PEM = "-----BEGIN CERTIFICATE-----\n{{secret:env:BODY}}\n-----END CERTIFICATE-----"


def listener(**tls: Any) -> dict[str, Any]:
    return with_member(MINIMAL["listener"], "tls", tls)


def destination(**tls: Any) -> dict[str, Any]:
    return with_member(MINIMAL["destination"], "options.tls", tls)


@pytest.mark.parametrize(
    ("cert", "key"),
    [
        (OURS.cert, OURS.key),
        (OURS.cert + OTHER.cert, OURS.key),
        (f"\n  {OURS.cert}\n", f"\n{OURS.key}"),
        ("/etc/tls/tls.crt", "/etc/tls/tls.key"),
        ("tls.crt", OURS.key),
        (REFERENCE, REFERENCE),
        (REFERENCE_IN_PEM, OURS.key),
        (OURS.cert, "{{secret:file:/run/secrets/key}}"),
    ],
)
def test_material_that_is_taken(cert: str, key: str) -> None:
    entity = Listener.parse(listener(cert=cert, key=key))
    assert entity.tls is not None
    assert (entity.tls.cert, entity.tls.key) == (cert, key)
    assert Listener.parse(entity.document()) == entity
    assert Destination.parse(destination(mode="mtls", cert=cert, key=key)).options.tls.mode == "mtls"


@pytest.mark.parametrize(
    ("tls", "path", "reason"),
    [
        ({"cert": BROKEN, "key": OURS.key}, "cert", "is not a valid PEM certificate: "),
        ({"cert": OURS.key, "key": OURS.key}, "cert", "is not a valid PEM certificate: "),
        ({"cert": OURS.cert, "key": OURS.cert}, "key", "is not a valid PEM private key"),
        ({"cert": OURS.cert, "key": OTHER.key}, "key", "does not belong to the certificate"),
        ({"cert": OTHER.cert + OURS.cert, "key": OURS.key}, "key", "does not belong to the certificate"),
        ({"cert": OURS.cert, "key": OURS.encrypted_key}, "key", "must be a private key without a passphrase"),
        (
            {"cert": f"Bag Attributes\n{OURS.cert}", "key": OURS.key},
            "cert",
            'must be PEM text that begins with "-----BEGIN", or the path of a file',
        ),
    ],
)
def test_material_that_is_refused(tls: dict[str, str], path: str, reason: str) -> None:
    with pytest.raises(InvalidEntity) as refused:
        Listener.parse(listener(**tls))
    assert str(refused.value).startswith(f"tls.{path}: {reason}")
    with pytest.raises(InvalidEntity) as refused:
        Destination.parse(destination(mode="mtls", **tls))
    assert str(refused.value).startswith(f"options.tls.{path}: {reason}")
    assert len(refused.value.problems) == 1


def test_authorities_are_loaded_too() -> None:
    for mode in ("optional", "require"):
        client_auth = {"mode": mode, "ca": OURS.cert + OTHER.cert}
        assert Listener.parse(listener(cert="/c", key="/k", clientAuth=client_auth)).tls
    with pytest.raises(InvalidEntity, match=r"^tls\.clientAuth\.ca: is not a valid PEM certificate"):
        Listener.parse(listener(cert="/c", key="/k", clientAuth={"mode": "require", "ca": BROKEN}))
    with pytest.raises(InvalidEntity, match=r"^options\.tls\.ca: is not a valid PEM certificate"):
        Destination.parse(destination(mode="tls", ca=BROKEN))


def test_a_public_key_may_stand_for_a_key_set() -> None:
    for inline in (OURS.public_key, '{"keys": []}', REFERENCE):
        entity = Middleware.parse(middleware("jwt", {"issuer": "i", "jwksInline": inline}))
        assert Middleware.parse(entity.document()) == entity


def test_a_private_key_is_not_in_the_representation() -> None:
    assert "PRIVATE" not in repr(Listener.parse(listener(cert=OURS.cert, key=OURS.key)))
