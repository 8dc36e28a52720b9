"""The examples of the documentation, run as they stand (only the ports are others)."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import guide
from tests.support.conditions import accepts, eventually
from tests.support.gateway import Gateway
from tests.support.ports import free_port
from tests.support.processes import VrataProcess
from tests.support.raw_http import fetch
from tests.support.recording_backend import RecordingBackend

Ports = dict[int, int]
"""From the ports that the documentation names to those of the test."""


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ports]:
    """The ports of a running demo."""
    ports = {documented: free_port() for documented in (8080, 3000, 9101, 9102)}
    arguments = ("--demo", "--demo-ports", ",".join(str(port) for port in ports.values()))
    with VrataProcess("serve", *arguments, directory=tmp_path_factory.mktemp("demo")) as process:
        process.wait_for_text("Ctrl-C ends it", 60)
        yield ports
        assert process.terminate(40) == 0


def test_the_first_steps_of_the_readme(demo: Ports, tmp_path: Path) -> None:
    output = guide.run(guide.examples("README.md"), demo, tmp_path)
    assert output.count('"backend"') == 2
    _, _, explanation = output.partition("Hello!\n")
    assert 'route "greeting"' in explanation
    assert '"error"' not in output


def test_the_getting_started_page(demo: Ports, tmp_path: Path) -> None:
    output = guide.run(guide.examples("docs/guide/getting-started.md"), demo, tmp_path)
    assert '"error"' not in output
    assert re.findall(r'"backend": "(\w+)"', output)[-1] == "green"


def test_pages_whose_examples_follow_each_other_on_the_demo(demo: Ports, tmp_path: Path) -> None:
    ports = demo | {documented: free_port() for documented in (3020, 3030, 9020, 9030)}
    output = guide.run(guide.examples("docs/guide/middlewares/ext-authz.md"), ports, tmp_path)
    denied, _, allowed = output.partition("HTTP/1.1 401 Unauthorized")[2].partition("who are you?")
    assert "WWW-Authenticate: Bearer" in denied
    assert allowed.endswith("come in\n")
    output = guide.run(guide.examples("docs/guide/middlewares/ext-proc.md"), ports, tmp_path)
    assert output.split()[-4:] == ["GOOD", "EVENING", "nothing", "here"]


def test_the_rest_api_tour(tmp_path: Path, backend: RecordingBackend, other: RecordingBackend) -> None:
    with Gateway(tmp_path) as gateway:
        ports = {8080: gateway.configuration.api_port, 9001: backend.port, 9002: other.port}
        ports |= {3001: free_port(), 3443: free_port()}
        output = guide.run(guide.examples("docs/guide/rest-api.md"), ports, tmp_path)
        # There is one example of an error.
        (error,) = re.findall(r'"error": ?"([^\n]*)"', output)
        assert "port" in error
        assert '"bodySize"' in output
        eventually(lambda: accepts(ports[3001]), what="the listener of the tour")
        assert [found["name"] for found in gateway.call("GET", "/snapshots") if found["active"]] == ["first"]
        assert fetch(ports[3001], "/tenant/up", host="tenant.example").body == b'{"up": true}'


def test_the_explain_page(tmp_path: Path) -> None:
    with Gateway(tmp_path, proxy={"workers": 1}) as gateway:
        ports = {8080: gateway.configuration.api_port, 3001: free_port()}
        output = guide.run(guide.examples("docs/guide/explain.md"), ports, tmp_path)
    page = (guide.DOCUMENTATION / "docs" / "guide" / "explain.md").read_text(encoding="utf-8")
    page = page.replace("3001", str(ports[3001]))
    # What the page shows is what was printed, as far as it shows it.
    shown = re.findall(r"^```text\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert len(shown) == 5
    for block in shown:
        assert block.partition("  …")[0] in output
    assert output.count("Nothing differs") == 1
    assert '"error"' not in output


def test_the_grpc_page(tmp_path: Path) -> None:
    with Gateway(tmp_path) as gateway:
        ports = {8080: gateway.configuration.api_port, 3010: free_port(), 9010: free_port(), 9011: free_port()}
        output = guide.run(guide.examples("docs/guide/grpc.md"), ports, tmp_path)
    page = (guide.DOCUMENTATION / "docs" / "guide" / "grpc.md").read_text(encoding="utf-8")
    (shown,) = re.findall(r"^```text\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert shown in output
    assert "grpc-status: 12" in output
    assert output.endswith("anybody there?\n")
    assert '"error"' not in output


def _problem(gateway: Gateway) -> str:
    (proxy,) = gateway.proxies()
    return "".join(problem["reason"] for problem in proxy["lastApply"]["problems"])


def test_the_page_of_python_middlewares(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (guide.DOCUMENTATION / "docs/guide/middlewares/python.md").read_text(encoding="utf-8")
    module, test, other = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    # The one that is type-checked with everything else.
    assert module == (guide.DOCUMENTATION / "tests/examples/tenants.py").read_text(encoding="utf-8")
    directory = tmp_path / "middlewares"
    directory.mkdir()
    (directory / "tenants.py").write_text(module)
    (directory / "directory.py").write_text(other)
    monkeypatch.syspath_prepend(directory)
    tests: dict[str, Any] = {}
    exec(test, tests)
    called = [function() for name, function in tests.items() if name.startswith("test_")]
    assert len(called) == 2
    sections = {"workers": 1, "pythonMiddlewares": {"path": [str(directory)]}}
    with Gateway(tmp_path, proxy=sections) as gateway:
        ports = {8080: gateway.configuration.api_port, 3040: free_port()}
        output = guide.run(guide.examples("docs/guide/middlewares/python.md"), ports, tmp_path)
        logged = gateway.process.text()
        assert "no such tenant: 'nobody' from 127.0.0.1" in logged
        assert "not loaded" not in logged
        # New code, with the next workers.
        (directory / "tenants.py").write_text(module.replace("unknown tenant", "who are you?"))
        gateway.process.signal(signal.SIGHUP)
        eventually(lambda: b"who are you?" in fetch(ports[3040], "/welcome").body, what="the new code")
        # Code that is gone is reported though no snapshot was activated, and so is its return.
        (directory / "tenants.py").rename(tmp_path / "tenants.py")
        gateway.process.signal(signal.SIGHUP)
        eventually(lambda: "no module tenants" in _problem(gateway), what="the problem is reported")
        assert fetch(ports[3040], "/welcome").status == 500
        (tmp_path / "tenants.py").rename(directory / "tenants.py")
        gateway.process.signal(signal.SIGHUP)
        eventually(lambda: not _problem(gateway), what="the problem is over")
    accepted, _, refused = output.partition("HTTP/1.1 200 OK")[2].partition("Hello!")
    assert re.search(r"(?i)^Server-Timing: upstream;dur=[0-9.]+\r?$", accepted, re.MULTILINE)
    assert "HTTP/1.1 403 Forbidden" in refused
    assert refused.rstrip().endswith('{"error":"unknown tenant"}')


def test_the_destination_of_the_product_documentation(gateway: Gateway, tmp_path: Path) -> None:
    # The published documentation of the product creates a destination with exactly this call.
    script = """
        curl -X POST localhost:8080/api/v1/destinations \\
          -H 'Content-Type: application/json' \\
          -d '{
            "name": "api-service",
            "host": "api-svc.default.svc.cluster.local",
            "port": 80
          }'
    """
    created = json.loads(guide.run(script, {8080: gateway.configuration.api_port}, tmp_path))
    assert gateway.call("GET", f"/destinations/{created['id']}") == created
    assert created["host"] == "api-svc.default.svc.cluster.local"
