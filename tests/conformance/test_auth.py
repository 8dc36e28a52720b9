"""API keys."""

from __future__ import annotations

import json
from collections.abc import Iterator

import httpx
import pytest
from typer.testing import CliRunner

from tests.conformance.control_plane import control_plane
from tests.support.api_client import ApiClient
from tests.support.configuration import Configuration
from tests.support.processes import VrataProcess
from vrata.cli.application import application

KEY = "the-first-key-0123456789"
KEYS = [{"name": "deploy", "key": KEY}, {"name": "console", "key": "the-second-key"}]


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Configuration, VrataProcess]]:
    configuration = Configuration(tmp_path_factory.mktemp("guarded"), controlPlane={"auth": {"apiKeys": KEYS}})
    with control_plane(configuration) as process:
        yield configuration, process


@pytest.mark.parametrize(
    "path",
    ["/api/v1/routes", "/api/v1/sync/snapshot", "/api/v1/sync/raft", "/api/v1/docs/", "/api/v1/docs/doc.json", "/none"],
)
@pytest.mark.parametrize(
    ("header", "error"),
    [
        (None, "missing authorization header"),
        ("Basic abc", "authorization header must use Bearer scheme"),
        (f"bearer {KEY}", "authorization header must use Bearer scheme"),
        (f"Bearer  {KEY}", "invalid API key"),
        ("Bearer wrong", "invalid API key"),
    ],
)
def test_every_path_needs_a_key(
    guarded: tuple[Configuration, VrataProcess], path: str, header: str | None, error: str
) -> None:
    headers = {} if header is None else {"Authorization": header}
    answer = httpx.get(guarded[0].api_url + path, headers=headers, verify=False)
    assert (answer.status_code, answer.json()) == (401, {"error": error})
    assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("key", [entry["key"] for entry in KEYS])
def test_every_key_may_do_everything(guarded: tuple[Configuration, VrataProcess], key: str) -> None:
    with ApiClient(guarded[0].api_url, {"Authorization": f"Bearer {key}"}) as api:
        api.clear()
        api.create("routes", name="r", directResponse={"status": 200})
        snapshot = api.create("snapshots", name="first")
        api.activate(snapshot["id"])
        with api.stream() as events:
            assert events.snapshot() == snapshot
        assert api.get("/docs/doc.json").status_code == 200


def test_the_command_line_takes_its_key_from_the_environment(
    guarded: tuple[Configuration, VrataProcess], monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ["explain", "http://a.test/", "--api", guarded[0].api_url, "--snapshot", "staged", "--json"]
    assert CliRunner().invoke(application, arguments).stderr == "vrata: missing authorization header\n"
    monkeypatch.setenv("VRATA_API_KEY", KEY)
    explained = CliRunner().invoke(application, arguments)
    assert explained.exit_code == 0, explained.output
    assert json.loads(explained.stdout)["snapshot"] == {"source": "staged"}


def test_refusals_are_logged_with_the_client_and_without_the_key(guarded: tuple[Configuration, VrataProcess]) -> None:
    configuration, process = guarded
    httpx.get(configuration.api_url + "/api/v1/routes", headers={"Authorization": "Bearer nearly-right"}, verify=False)
    text = process.wait_for_text("path=/api/v1/routes reason='invalid API key'")
    assert "client=127.0.0.1" in text
    assert "nearly-right" not in text
    assert KEY not in text
    process.wait_for_text("path=/api/v1/routes status=401")
