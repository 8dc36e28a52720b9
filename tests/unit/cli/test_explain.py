"""``vrata explain`` on snapshots in files, and what it says when there is nothing to ask."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from tests.support.gateway import destination, forward, listener, route
from tests.support.in_process_proxy import snapshot_document
from tests.support.middlewares import middleware
from tests.support.ports import free_port
from vrata.cli.application import application
from vrata.cli.control_plane import API_KEY

Document = dict[str, Any]

ROUTES = [
    route("up", {"path": "/up", "methods": ["GET"]}, directResponse={"status": 200, "body": "yes"}),
    route("old", {"pathPrefix": "/old"}, redirect={"scheme": "https", "host": "new.test"}),
    route("api", {"pathPrefix": "/api"}, forward=forward("shop", "gone", rewrite={"path": "/v2"})),
    route("body", {"path": "/body", "cel": 'request.body.raw == "x=1"'}, directResponse={"status": 200}),
]


@pytest.fixture
def snapshot(tmp_path: Path) -> Path:
    return written(tmp_path / "snapshot.json", ROUTES)


def written(path: Path, routes: list[Document]) -> Path:
    document = snapshot_document(
        "s", listeners=[listener(3000)], routes=routes, destinations=[destination("shop", 9001)]
    )
    path.write_text(json.dumps(document))
    return path


def run(*arguments: str) -> Result:
    return CliRunner().invoke(application, ["explain", *arguments])


def explained(snapshot: Path, *arguments: str) -> Document:
    result = run(*arguments, "--snapshot-file", str(snapshot), "--json")
    assert result.exit_code == 0, result.output
    document: Document = json.loads(result.stdout)
    return document


def shown(snapshot: Path, *arguments: str) -> str:
    result = run(*arguments, "--snapshot-file", str(snapshot))
    assert result.exit_code == 0, result.output
    return result.stdout


def refused(*arguments: str) -> str:
    result = run(*arguments)
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1
    return result.stderr.removeprefix("vrata: ").rstrip("\n")


def test_arguments_are_those_of_curl(snapshot: Path) -> None:
    found = explained(snapshot, "a.test/up?x=1", "-H", "X-A: 1", "--client", "192.0.2.7")["request"]
    assert (found["method"], found["host"], found["target"], found["clientIp"]) == (
        "GET",
        "a.test",
        "/up?x=1",
        "192.0.2.7",
    )
    assert explained(snapshot, "PUT", "http://a.test/up")["request"]["method"] == "PUT"
    assert explained(snapshot, "-X", "PUT", "http://a.test/up")["request"]["method"] == "PUT"
    assert explained(snapshot, "a.test/body", "-d", "x=1")["request"]["method"] == "POST"


def test_a_body_comes_from_the_command_line_or_a_file(snapshot: Path, tmp_path: Path) -> None:
    body = tmp_path / "body"
    body.write_text("x=1")
    assert explained(snapshot, "a.test/body", "-d", "x=1")["outcome"] == "directResponse"
    assert explained(snapshot, "a.test/body", "-d", f"@{body}")["outcome"] == "directResponse"
    assert explained(snapshot, "a.test/body", "-d", "x=2")["outcome"] == "noRoute"
    assert refused("a.test/body", "-d", f"@{body}.not", "--snapshot-file", str(snapshot)).startswith("cannot read")


def test_what_is_staged_can_be_asked_as_the_api_dumps_it(tmp_path: Path) -> None:
    dump = tmp_path / "staged.json"
    dump.write_text(json.dumps(snapshot_document("s", routes=ROUTES)["snapshot"]))
    assert explained(dump, "a.test/up")["route"]["id"] == "up"


def test_a_direct_response_for_people(snapshot: Path) -> None:
    text = shown(snapshot, "http://a.test/up")
    assert text.splitlines()[0] == "GET http://a.test/up"
    assert 'The request gets a direct response by route "up"' in text
    assert "yes" in text
    assert "3 ruled out by their path alone" in text


def test_a_forward_for_people(snapshot: Path) -> None:
    text = shown(snapshot, "http://a.test/api/x")
    assert "GET /v2/x" in text
    assert "100% shop: one of 127.0.0.1:9001 by ROUND_ROBIN" in text
    assert "0% gone: does not exist" in text
    assert "not known" in text


def test_middlewares_for_people(tmp_path: Path) -> None:
    overrides = {"edges": {"headers": {"requestHeadersToRemove": ["X-B"]}}}
    attached = route("up", {"path": "/up"}, directResponse={"status": 200}, middlewareIds=["edges"])
    edges = {"id": "edges", "name": "edges", "type": "headers", "headers": {"requestHeadersToRemove": ["X-A"]}}
    routes = [attached | {"middlewareOverrides": overrides}]
    path = tmp_path / "middlewares.json"
    path.write_text(json.dumps(snapshot_document("s", listeners=[listener(3000)], routes=routes, middlewares=[edges])))
    text = shown(path, "http://a.test/up")
    assert "  middleware   edges (headers) changes nothing\n" in text
    assert "its settings are replaced by those of the route" in text
    text = shown(path, "http://a.test/up", "-H", "X-B: 1")
    assert "  middleware   edges (headers) removes x-b\n" in text


def test_a_middleware_that_answers_for_people(tmp_path: Path) -> None:
    attached = route(
        "up", {"path": "/up"}, directResponse={"status": 200}, middlewareIds=["web", "limits", "rules", "x"]
    )
    middlewares = [
        middleware("web", "cors", allowOrigins=[{"value": "*"}]),
        middleware("limits", "rateLimit"),
        middleware("rules", "inlineAuthz", rules=[{"cel": 'request.method == "PUT"', "action": "allow"}]),
    ]
    path, other = tmp_path / "middlewares.json", tmp_path / "other.json"
    entities = {"listeners": [listener(3000)], "routes": [attached]}
    path.write_text(json.dumps(snapshot_document("s", middlewares=middlewares, **entities)))
    other.write_text(json.dumps(snapshot_document("t", middlewares=middlewares[:2], **entities)))
    text = shown(path, "http://a.test/up")
    assert 'The request is answered by middleware "rules" of route "up", provided that\n' in text
    assert '· "limits" has a token left for the request\n' in text
    assert "  middleware   rules (inlineAuthz) answers 403: no rule is true\n" in text
    assert "  not reached  x\n" in text
    assert "  passes       web, on the way out\n" in text
    text = shown(path, "http://a.test/up", "--compare-with", str(other))
    assert "middlewares[rules].effect\n  -            answers 403: no rule is true\n" in text
    assert "details" not in text
    assert 'is refused, as it has to pass middleware "rules" of route "up"' in text


def test_a_forward_to_nowhere_for_people(tmp_path: Path) -> None:
    text = shown(written(tmp_path / "s.json", [route("lost", forward=forward("gone"))]), "a.test/")
    assert 'The request cannot be forwarded by route "lost"\n' in text
    assert "502 no destination available" in text


def test_the_url_says_which_host_and_port_are_meant(snapshot: Path) -> None:
    assert "needs an absolute URL or --host: '/up'" in refused("-X", "GET", "/up", "--snapshot-file", str(snapshot))
    assert "--host goes with a path" in refused("a.test/up", "--host", "b.test", "--snapshot-file", str(snapshot))
    assert explained(snapshot, "/up?x=1", "--host", "a.test")["request"]["host"] == "a.test"
    assert explained(snapshot, "/up", "-H", "host: a.test")["request"]["host"] == "a.test"
    text = shown(snapshot, "http://a.test:3999/up")
    assert text.splitlines()[0] == "GET http://a.test:3999/up"
    assert "no listener has port 3999" in text
    assert "no listener has port" not in shown(snapshot, "http://a.test:3000/up")
    assert "no listener has port" not in shown(snapshot, "http://a.test/up")


def test_a_miss_for_people(snapshot: Path) -> None:
    text = shown(snapshot, "POST", "http://a.test/up", "--all")
    assert "The request matches no route" in text
    assert "method: expected 'GET', got 'POST'" in text
    assert "path: expected the prefix '/old'" in text


def test_a_refusal_for_people(snapshot: Path) -> None:
    text = shown(snapshot, "http://a b/")
    assert "is refused before any route is looked for" in text
    assert "400 malformed Host" in text


def test_a_comparison_for_people(snapshot: Path, tmp_path: Path) -> None:
    other = written(tmp_path / "other.json", [ROUTES[0] | {"directResponse": {"status": 503}}, *ROUTES[1:]])
    lines = [line.strip() for line in shown(snapshot, "a.test/up", "--compare-with", str(other)).splitlines()]
    at = lines.index("action.response.status")
    assert lines[at + 1].split() == ["-", "200"]
    assert lines[at + 2].split() == ["+", "503"]
    assert "Nothing differs" in shown(snapshot, "a.test/old", "--compare-with", str(other))


def test_nothing_reaches_the_terminal_but_text(tmp_path: Path) -> None:
    hostile = route("r", directResponse={"status": 200, "body": "\x1b]0;title\x07\x1b[31mred"})
    text = shown(written(tmp_path / "s.json", [hostile]), "a.test/")
    assert "\x1b" not in text
    assert r"\x1b]0;title\x07" in text


def test_what_cannot_be_asked_is_named(snapshot: Path, tmp_path: Path) -> None:
    file = ("--snapshot-file", str(snapshot))
    assert refused("GET", "a", "b", *file) == "one method and one URL are enough, got 3 arguments"
    assert refused("a.test", "-H", "nonsense", *file) == "--header: must be 'NAME: VALUE', got 'nonsense'"
    assert refused("a.test", "--client", "x", *file) == 'request.clientAddress: must be an IP address, got "x"'
    assert refused("a.test", "--snapshot-file", "gone.json") == "cannot read gone.json: No such file or directory"
    other = tmp_path / "other.json"
    other.write_text("no")
    assert "not JSON" in refused("a.test", "--snapshot-file", str(other))
    other.write_text("[" * 100_000)
    assert "nested too deeply" in refused("a.test", "--snapshot-file", str(other))
    other.write_text("[]")
    assert "not a snapshot document" in refused("a.test", "--snapshot-file", str(other))
    other.write_text('{"id": "x", "snapshot": {}}')
    assert "must be an array" in refused("a.test", "--snapshot-file", str(other))
    assert "--snapshot-file" in refused("a.test", "--snapshot", "staged", *file)
    assert refused("a.test", "--ca", "gone.pem").startswith("--ca: cannot use gone.pem: ")


def test_without_a_control_plane_there_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    address = f"http://127.0.0.1:{free_port()}"
    assert refused("a.test/", "--api", address).startswith(f"cannot ask the control plane at {address}: ")
    monkeypatch.setenv("VRATA_API", address)
    monkeypatch.setenv(API_KEY, "secret")
    assert refused("a.test/").startswith(f"cannot ask the control plane at {address}: ")
    assert "cannot ask the control plane" in refused("a.test/", "--api", "nonsense")


@pytest.mark.parametrize("key", ["secret\n", "secrét"])
def test_a_key_that_cannot_be_sent_is_not_shown(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(API_KEY, key)
    assert refused("a.test/") == f"${API_KEY} must hold ASCII characters only, and no line breaks"
