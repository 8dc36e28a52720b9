"""Secrets, and where references to them lead."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.api_client import ApiClient

VALUE = "p4ss\nword \x07 ü"


def direct(body: str) -> dict[str, object]:
    return {"name": "r", "directResponse": {"status": 200, "body": body}}


def test_a_value_is_shown_only_to_who_asks_for_the_secret(api: ApiClient) -> None:
    created = api.post("/secrets", {"id": "s1", "name": "password", "value": VALUE})
    assert (created.status_code, created.json()) == (201, {"id": "s1", "name": "password"})
    assert api.get("/secrets").json() == [{"id": "s1", "name": "password"}]
    assert api.get("/secrets/s1").json() == {"id": "s1", "name": "password", "value": VALUE}
    replaced = api.put("/secrets/s1", {"name": "password", "value": "another"})
    assert (replaced.status_code, replaced.json()) == (200, {"id": "s1", "name": "password"})
    assert api.get("/secrets/s1").json()["value"] == "another"
    assert api.delete("/secrets/s1").status_code == 204


def test_an_unknown_secret_is_not_found_by_any_method(api: ApiClient) -> None:
    document = {"name": "password", "value": VALUE}
    for answer in (api.get("/secrets/s1"), api.put("/secrets/s1", document), api.delete("/secrets/s1")):
        assert (answer.status_code, answer.json()) == (404, {"error": "secret not found"})
    assert api.get("/secrets").json() == []


def test_problems_do_not_repeat_the_value(api: ApiClient) -> None:
    for document in ({"name": "", "value": VALUE}, {"name": "x", "valu": VALUE}, {"name": "x", "value": [VALUE]}):
        answer = api.post("/secrets", document)
        assert answer.status_code == 400
        assert "p4ss" not in answer.text


def test_references_are_resolved_when_a_snapshot_is_made(api: ApiClient, secret_file: Path) -> None:
    api.create("secrets", id="s1", name="password", value=VALUE)
    references = "<{{secret:value:s1}}|{{secret:env:VRATA_SECRET_CONFORMANCE}}|" + f"{{{{secret:file:{secret_file}}}}}>"
    api.create("routes", **direct(references))
    snapshot = api.create("snapshots", name="first")
    (route,) = snapshot["snapshot"]["routes"]
    assert route["directResponse"]["body"] == f"<{VALUE}|text of the variable|text of the file\n>"
    (staged,) = api.get("/routes").json()
    assert staged["directResponse"]["body"] == references


def test_a_snapshot_keeps_the_value_of_its_time(api: ApiClient) -> None:
    api.create("secrets", id="s1", name="password", value="old")
    api.create("routes", **direct("{{secret:value:s1}}"))
    snapshot = api.create("snapshots", name="first")
    api.put("/secrets/s1", {"name": "password", "value": "new"})
    assert api.get(f"/snapshots/{snapshot['id']}").json() == snapshot
    api.delete("/secrets/s1")
    assert api.get(f"/snapshots/{snapshot['id']}").json() == snapshot


def test_all_unresolved_references_are_named_and_nothing_is_made(api: ApiClient, secret_file: Path) -> None:
    missing = secret_file.with_name("missing")
    api.create(
        "routes",
        **direct(
            "{{secret:value:gone}}{{secret:env:VRATA_SECRET_UNSET}}"
            + f"{{{{secret:file:{missing}}}}}"
            + "{{secret:vault:x}}{{secret:env:PATH}}{{secret:file:/etc/hostname}}"
        ),
    )
    answer = api.post("/snapshots", {"name": "first"})
    assert answer.status_code == 400
    assert answer.json()["error"].split("\n") == [
        "resolving secrets: unresolved secret references:",
        '  secret "gone": secret "gone": resource not found',
        '  env var "VRATA_SECRET_UNSET" is not set',
        f'  file "{missing}": No such file or directory',
        '  secret source "vault" of "x" is unknown: must be value, env or file',
        '  env var "PATH": controlPlane.secrets.allowEnv does not allow it',
        '  file "/etc/hostname": controlPlane.secrets.allowFile does not allow it',
    ]
    assert api.get("/snapshots").json() == []


@pytest.mark.parametrize("name", ["password", "s1"])
def test_a_reference_names_the_id_and_not_the_name(api: ApiClient, name: str) -> None:
    api.create("secrets", id="s1", name="password", value="x")
    api.create("routes", **direct(f"{{{{secret:value:{name}}}}}"))
    assert api.post("/snapshots", {"name": "first"}).status_code == (201 if name == "s1" else 400)
