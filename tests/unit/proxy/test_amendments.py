"""What a supervisor changes in a document before its workers apply it."""

from __future__ import annotations

from tests.support.in_process_proxy import snapshot_document
from tests.support.tls_listener import server_certificate, terminating
from tests.support.tls_upstream import secured
from vrata.model.tls import DestinationTls, ListenerTls
from vrata.proxy.amendments import amend, decode, encode

TLS = ListenerTls.model_validate(terminating(minVersion="TLSv1_3"))


def test_listeners_get_other_material_or_are_left_out() -> None:
    in_files = {"cert": "/cert.pem", "key": "/key.pem"}
    listeners = [{"id": name, "name": name, "port": 1, "tls": in_files} for name in ("renewed", "broken", "untouched")]
    document = snapshot_document("s", listeners=[*listeners, "no listener", {"name": "without an id"}])
    amend(document, decode(encode({"renewed": TLS, "broken": None})))
    assert document["snapshot"]["listeners"] == [
        {**listeners[0], "tls": TLS.document()},
        listeners[2],
        "no listener",
        {"name": "without an id"},
    ]
    read_again = ListenerTls.model_validate(document["snapshot"]["listeners"][0]["tls"])
    assert (read_again.cert, read_again.min_version) == (server_certificate().cert_text, "TLSv1_3")


def test_destinations_as_well() -> None:
    destinations = [secured(1, name, ca="/ca.pem") for name in ("renewed", "broken", "untouched")]
    document = snapshot_document("s", listeners=[{"id": "renewed"}], destinations=destinations)
    tls = DestinationTls.model_validate(secured(1, subjectAltNames=["a.test"])["options"]["tls"])
    amend(document, decode(encode({}, {"renewed": tls, "broken": None})))
    assert document["snapshot"]["listeners"] == [{"id": "renewed"}]
    assert document["snapshot"]["destinations"] == [
        {**destinations[0], "options": {"tls": tls.document()}},
        destinations[2],
    ]
    assert DestinationTls.model_validate(document["snapshot"]["destinations"][0]["options"]["tls"]) == tls


def test_nothing_to_change_is_no_file_to_send() -> None:
    assert encode({}) == b""
    assert decode(b"") == {}
