"""TLS material in entities: PEM text is loaded, a path is not looked at, a reference is left for later."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.support.certificates import Authority
from tests.unit.model.material import material
from tests.unit.model.samples import MINIMAL, middleware, with_member
from vrata.model import Destination, InvalidEntity, Listener, Middleware
from vrata.model.pem import certificate_facts

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


SHOP = Authority("authority").issue("Shop.test", dns_names=["*.shop.test", "*", "f*.test", "*.*.test", "192.0.2.1"])
NAMELESS = Authority("authority").issue("192.0.2.1", uris=["spiffe://a/b"])
FURTHER = {"cert": SHOP.cert_text, "key": SHOP.key_text}


def test_names_of_a_certificate_are_those_that_can_be_asked_for() -> None:
    assert certificate_facts(SHOP.cert_text).server_names == ("shop.test", "*.shop.test")
    facts = certificate_facts(NAMELESS.cert_text)
    assert (facts.names, facts.server_names) == (("192.0.2.1",), ())
    # It was made when this file was read, which may be many tests ago.
    assert timedelta(minutes=30) < facts.not_after - datetime.now(UTC) <= timedelta(hours=1)
    # Self-signed, with nothing but a common name, which has not counted for a long time (RFC 9525 §6.3).
    assert certificate_facts(OURS.cert).names == ()


@pytest.mark.parametrize(
    ("further", "names"),
    [
        (FURTHER, ("shop.test", "*.shop.test")),
        ({**FURTHER, "hostnames": ["A.example", "*.B.example.", "a.example"]}, ("a.example", "*.b.example")),
        ({"cert": NAMELESS.cert_text, "key": NAMELESS.key_text, "hostnames": ["a"]}, ("a",)),
        ({"cert": "/c", "key": "/k"}, None),
        ({"cert": "/c", "key": "/k", "hostnames": ["a"]}, ("a",)),
        ({"cert": REFERENCE, "key": REFERENCE}, None),
        ({**FURTHER, "hostnames": ["a", REFERENCE]}, None),
    ],
)
def test_names_that_a_further_certificate_is_presented_for(
    further: dict[str, Any], names: tuple[str, ...] | None
) -> None:
    entity = Listener.parse(listener(cert="/c", key="/k", certificates=[further]))
    assert entity.tls is not None
    assert entity.tls.certificates[0].server_names == names
    assert Listener.parse(entity.document()) == entity


@pytest.mark.parametrize(
    ("further", "path", "reason"),
    [
        ([{}], "[0].cert", "is required: TLS needs both cert and key"),
        ([{"cert": "/c"}], "[0].key", "is required: TLS needs both cert and key"),
        ([{**FURTHER, "key": OURS.key}], "[0].key", "does not belong to the certificate"),
        ([{"cert": NAMELESS.cert_text, "key": NAMELESS.key_text}], "[0].hostnames", "is required: "),
        ([FURTHER, {"cert": "/c", "key": "/k", "hostnames": ["SHOP.test."]}], "[1]", '"shop.test" is a name of '),
        (
            [{**FURTHER, "hostnames": ["*"]}],
            "[0].hostnames[0]",
            'must be a host name, or "*." followed by one, got "*"',
        ),
        ([{**FURTHER, "hostnames": ["::1"]}], "[0].hostnames[0]", "must be a host name"),
        ([{**FURTHER, "hostnames": ["10.0.0.1"]}], "[0].hostnames[0]", "must be a host name"),
        ([{**FURTHER, "hostnames": ["a.*.b"]}], "[0].hostnames[0]", "must be a host name"),
        (
            [{**FURTHER, "hostnames": ["t\u00fcr.de"]}],
            "[0].hostnames[0]",
            "must be a host name in its ASCII (punycode)",
        ),
        ([{**FURTHER, "sni": "a"}], "[0].sni", "unknown field"),
    ],
)
def test_further_certificates_that_are_refused(further: list[dict[str, Any]], path: str, reason: str) -> None:
    with pytest.raises(InvalidEntity) as refused:
        Listener.parse(listener(cert="/c", key="/k", certificates=further))
    assert str(refused.value).startswith(f"tls.certificates{path}: {reason}")


def test_the_keys_of_further_certificates_are_not_in_the_representation() -> None:
    assert "PRIVATE" not in repr(Listener.parse(listener(cert="/c", key="/k", certificates=[FURTHER])))


@pytest.mark.parametrize(
    ("stated", "path", "reason"),
    [
        ({"mode": "required"}, "trustedPeers", 'is required when mode is "required"'),
        ({"mode": "required", "trustedPeers": []}, "trustedPeers", "is required"),
        (
            {"mode": "required", "trustedPeers": ["a.example"]},
            "trustedPeers[0]",
            "must be an IP address or a CIDR range",
        ),
        ({"mode": "optional", "trustedPeers": ["::/0"]}, "mode", 'must be "off" or "required", got "optional"'),
        ({"mode": "off", "version": 2}, "version", "unknown field"),
    ],
)
def test_a_proxy_protocol_that_is_refused(stated: dict[str, Any], path: str, reason: str) -> None:
    with pytest.raises(InvalidEntity) as refused:
        Listener.parse(with_member(MINIMAL["listener"], "proxyProtocol", stated))
    assert str(refused.value).startswith(f"proxyProtocol.{path}: {reason}")


def test_a_proxy_protocol_shows_its_mode() -> None:
    for stated, shown in (({}, {"mode": "off"}), ({"mode": "off", "trustedPeers": ["::/0"]}, None)):
        entity = Listener.parse(with_member(MINIMAL["listener"], "proxyProtocol", stated))
        assert entity.document()["proxyProtocol"] == (shown or stated)
    assert "proxyProtocol" not in Listener.parse(MINIMAL["listener"]).document()


def test_the_listeners_of_the_guide_are_good_ones() -> None:
    page = Path(__file__).parents[3] / "docs" / "guide" / "listeners.md"
    documents = map(
        json.loads, re.findall(r"^```json\n(.*?)^```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    )
    listeners = [Listener.parse(document) for document in documents if "port" in document]
    assert len(listeners) == 3
