"""What connections to upstreams are secured with: contexts, names of certificates, sessions, files."""

from __future__ import annotations

import gc
import os
import ssl
import time
from pathlib import Path

import pytest

from tests.support import tls_upstream as upstream
from tests.support.certificates import HOUR, Authority, Certificate
from vrata.model.tls import DestinationTls
from vrata.net.tls_material import TlsMaterialError
from vrata.net.upstream_tls import (
    LONGEST_SESSION,
    TlsSessions,
    UpstreamTls,
    _hashed_authorities,
    files_of,
    is_confirmed,
    upstream_tls,
    with_files_read,
)

MINE = upstream.client_authority().issue("proxy")


def stated(**members: object) -> DestinationTls:
    return DestinationTls.model_validate({"mode": "tls", **members})


class Pair:
    """A client and a server that have shaken hands in memory."""

    def __init__(self, tls: UpstreamTls, server: ssl.SSLContext, sessions: TlsSessions | None = None) -> None:
        to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
        offered = sessions.offered() if sessions is not None else None
        self.client = tls.context.wrap_bio(to_client, to_server, server_hostname=tls.server_name, session=offered)
        self.server = server.wrap_bio(to_server, to_client, server_side=True)
        done: set[ssl.SSLObject] = set()
        while len(done) < 2:
            for each in (self.client, self.server):
                try:
                    each.do_handshake()
                    done.add(each)
                except ssl.SSLWantReadError:
                    pass

    def talk(self) -> None:
        """Let the server say something, and with it what it had to say before."""
        self.server.write(b"content")
        assert self.client.read(100) == b"content"


def shown(*names: str, host: str = upstream.NAME, certificate: Certificate, ca: str | None = None) -> str:
    """What is found to be wrong with *certificate* when it is to have one of *names*."""
    tls = upstream_tls(stated(ca=ca or upstream.authority().cert_text, subjectAltNames=names), host)
    return tls.refusal(Pair(tls, upstream.serving(certificate)).client)


NAMES = upstream.authority().issue(
    "10.1.2.3",
    dns_names=["exact.test", "*.wild.test", "*.one", "Case.test"],
    uris=["spiffe://mesh/web", "urn:uuid:1234"],
)
IPV6 = upstream.authority().issue("2001:db8::1")


@pytest.mark.parametrize(
    "name",
    [
        "exact.test",
        "EXACT.test",
        "exact.test.",
        "a.wild.test",
        "case.test",
        "10.1.2.3",
        "spiffe://mesh/web",
        "urn:uuid:1234",
    ],
)
def test_names_that_a_certificate_has(name: str) -> None:
    assert shown(name, certificate=NAMES) == ""
    assert shown("nobody.test", name, certificate=NAMES) == ""


@pytest.mark.parametrize(
    "name",
    [
        "10.1.2.4",
        "wild.test",
        "a.b.wild.test",
        "a.one",
        "not.exact.test",
        "spiffe://mesh/web/",
        "spiffe://mesh/WEB",
        "spiffe://mesh",
        "2001:db8::1",
    ],
)
def test_names_that_it_has_not(name: str) -> None:
    assert shown(name, certificate=NAMES) == "the certificate has none of the subjectAltNames"


def test_one_address_in_two_notations() -> None:
    assert shown("2001:0db8:0:0::1", certificate=IPV6) == ""
    assert shown("2001:db8::2", certificate=IPV6) != ""


def test_a_certificate_without_alternative_names_has_none() -> None:
    assert shown("exact.test", certificate=upstream.authority().without_names("exact.test")) != ""


def test_contexts_are_shared_by_those_with_the_same_settings() -> None:
    ca = upstream.authority().cert_text
    one = upstream_tls(stated(ca=ca), "one.test")
    assert upstream_tls(stated(ca=ca), "two.test").context is one.context
    assert upstream_tls(stated(ca=ca), "two.test") != one
    assert upstream_tls(stated(ca=ca), "one.test") == one
    # The certificate is not shown in this mode.
    assert upstream_tls(stated(ca=ca, cert=MINE.cert_text, key=MINE.key_text), "one.test") == one
    others = [
        upstream_tls(stated(), "one.test"),
        upstream_tls(stated(ca=Authority("other").cert_text), "one.test"),
        upstream_tls(stated(ca=ca, minVersion="TLSv1_3"), "one.test"),
        upstream_tls(stated(ca=ca, maxVersion="TLSv1_2"), "one.test"),
        upstream_tls(stated(ca=ca, subjectAltNames=["one.test"]), "one.test"),
        upstream_tls(stated(ca=ca, mode="mtls", cert=MINE.cert_text, key=MINE.key_text), "one.test"),
    ]
    assert len({id(found.context) for found in (one, *others)}) == 7


def test_a_thousand_destinations_share_what_they_can_and_what_they_cannot_is_cheap() -> None:
    began = time.process_time()
    same = [upstream_tls(stated(), f"host-{number}.test") for number in range(1000)]
    assert len({id(found.context) for found in same}) == 1
    # Certificates of their own, and the authorities of the system: none may read the whole bundle.
    certificates = [upstream.client_authority().issue(f"proxy-{number}") for number in range(20)]
    apart = [
        upstream_tls(stated(mode="mtls", cert=found.cert_text, key=found.key_text), "host.test")
        for found in certificates
    ]
    assert len({id(found.context) for found in apart}) == 20
    assert time.process_time() - began < 5
    gc.collect()


def test_the_name_that_is_meant() -> None:
    assert upstream_tls(stated(), "host.test").server_name == "host.test"
    assert upstream_tls(stated(), "host.test.").server_name == "host.test"
    assert upstream_tls(stated(sni="sni.test"), "host.test").server_name == "sni.test"
    assert upstream_tls(stated(), "10.0.0.1").server_name == "10.0.0.1"


@pytest.mark.parametrize(("oldest", "newest"), [(None, "TLSv1_2"), ("TLSv1_2", "TLSv1_2"), ("TLSv1_3", None)])
def test_versions(oldest: str | None, newest: str | None) -> None:
    tls = upstream_tls(stated(ca=upstream.authority().cert_text, minVersion=oldest, maxVersion=newest), upstream.NAME)
    expected = "TLSv1.2" if newest == "TLSv1_2" else "TLSv1.3"
    assert Pair(tls, upstream.serving()).client.version() == expected


@pytest.mark.parametrize("version", ["TLSv1_0", "TLSv1_1"])
def test_old_versions_on_request(version: str) -> None:
    ca = upstream.authority().cert_text
    server = upstream.serving(min_version="TLSv1_0", max_version=version)
    tls = upstream_tls(stated(ca=ca, minVersion=version), upstream.NAME)
    assert Pair(tls, server).client.version() == {"TLSv1_0": "TLSv1", "TLSv1_1": "TLSv1.1"}[version]
    with pytest.raises(ssl.SSLError):
        Pair(upstream_tls(stated(ca=ca), upstream.NAME), server)


def test_a_common_name_is_no_name() -> None:
    tls = upstream_tls(stated(ca=upstream.authority().cert_text), "exact.test")
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        Pair(tls, upstream.serving(upstream.authority().without_names("exact.test")))


# -- sessions ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
def test_a_session_is_learnt_from_a_full_handshake_alone(version: str) -> None:
    tls = upstream_tls(stated(ca=upstream.authority().cert_text), upstream.NAME)
    server = upstream.serving(min_version=version, max_version=version)
    sessions = TlsSessions()
    assert repr(sessions) == "<TlsSessions none>"
    first = Pair(tls, server, sessions)
    assert is_confirmed(first.client) == (version == "TLSv1_2")
    first.talk()
    assert is_confirmed(first.client)
    sessions.learn(first.client)
    learnt = sessions.offered()
    assert learnt is not None
    second = Pair(tls, server, sessions)
    assert second.client.session_reused
    second.talk()
    sessions.learn(second.client)
    assert sessions.offered() is learnt


def test_before_there_is_a_ticket_there_is_nothing_to_learn() -> None:
    tls = upstream_tls(stated(ca=upstream.authority().cert_text), upstream.NAME)
    sessions = TlsSessions()
    sessions.learn(Pair(tls, upstream.serving()).client)
    assert sessions.offered() is None


def test_a_session_is_forgotten_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    tls = upstream_tls(stated(ca=upstream.authority().cert_text), upstream.NAME)
    pair = Pair(tls, upstream.serving(upstream.authority().issue(upstream.NAME, lifetime=2 * HOUR)))
    pair.talk()
    sessions = TlsSessions()
    sessions.learn(pair.client)
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + LONGEST_SESSION - 5)
    assert sessions.offered() is not None
    monkeypatch.setattr(time, "time", lambda: now + LONGEST_SESSION + 5)
    assert sessions.offered() is None


# -- files ------------------------------------------------------------------------------------------------------------


def test_files_are_read_in_the_mode_that_needs_them(tmp_path: Path) -> None:
    ca = tmp_path / "ca.pem"
    ca.write_text(f"Subject: whoever\n{upstream.authority().cert_text}")
    cert, key = MINE.cert_file(tmp_path / "cert.pem"), MINE.key_file(tmp_path / "key.pem")
    tls = stated(mode="mtls", cert=str(cert), key=str(key), ca=str(ca), sni="a.test", subjectAltNames=["b.test"])
    assert files_of(tls) == [cert, key, ca]
    read = with_files_read(tls)
    assert (read.cert, read.key, read.ca) == (MINE.cert_text, MINE.key_text, upstream.authority().cert_text)
    assert (read.sni, read.subject_alt_names) == ("a.test", ("b.test",))
    assert files_of(read) == []
    assert with_files_read(read) is read
    os.unlink(key)
    plain = tls.model_copy(update={"mode": "tls"})
    assert files_of(plain) == [ca]
    assert with_files_read(plain).ca == read.ca


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ({"ca": "/no/such/ca"}, "tls.ca: /no/such/ca: No such file or directory"),
        ({"ca": "/dev/null"}, "tls.ca: /dev/null: is not a regular file"),
        ({"ca": "{key}"}, "tls.ca: {key}: is not a valid PEM certificate: "),
        ({"mode": "mtls", "cert": "{ca}", "key": "/no/key"}, "tls.key: /no/key: No such file or directory"),
        ({"mode": "mtls", "cert": "{ca}", "key": "{key}"}, "tls.key: {key}: does not belong to the certificate"),
        ({"mode": "mtls", "cert": "{ca}", "key": "{ca}"}, "tls.key: {ca}: is not a valid PEM private key"),
    ],
)
def test_files_that_are_no_good(tmp_path: Path, members: dict[str, str], reason: str) -> None:
    (tmp_path / "ca").write_text(upstream.authority().cert_text)
    places = {"ca": tmp_path / "ca", "key": MINE.key_file(tmp_path / "key")}
    tls = stated(**{name: text.format(**places) for name, text in members.items()})
    with pytest.raises(TlsMaterialError) as failed:
        with_files_read(tls)
    assert str(failed.value).startswith(reason.format(**places))


def test_authorities_that_the_environment_names_are_not_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere/authorities.pem")
    _hashed_authorities.cache_clear()
    try:
        assert _hashed_authorities() is None
    finally:
        _hashed_authorities.cache_clear()
