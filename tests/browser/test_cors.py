"""What a browser makes of the ``cors`` middleware: pages of two origins ask one gateway and tell what they could read.

Not among the tests of ``make test``, since a browser takes much room: ``make test-browser`` installs it and runs these.
"""

from __future__ import annotations

import html
import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.gateway import Gateway, destination, forward, listener, route
from tests.support.middlewares import middleware
from tests.support.ports import free_port
from tests.support.recording_backend import Exchange, RecordingBackend

BROWSER = ("chromium-headless-shell", "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage")
TIME = 10_000
"""Milliseconds of the browser's own time; it does not pass while something is fetched."""

PAGE = """<!DOCTYPE html><title>page</title><pre id="told">nothing</pre><script>
const told = {};
async function ask(name, path, options) {
  try {
    const response = await fetch("http://127.0.0.1:%(port)d" + path, options);
    told[name] = {status: response.status, text: await response.text(), total: response.headers.get("x-total"),
                  own: response.headers.get("x-own")};
  } catch (error) {
    told[name] = "blocked";
  }
}
(async () => {
  %(script)s
  document.getElementById("told").textContent = JSON.stringify(told);
})();
</script>"""

ATTEMPTS = """
  await ask("get", "/app/get");
  const fields = {"X-Team": "blue", "Content-Type": "application/json"};
  await ask("put", "/app/put", {method: "PUT", headers: fields, body: "{}"});
  await ask("delete", "/app/delete", {method: "DELETE"});
  await ask("field", "/app/field", {headers: {"X-Other": "1"}});
  await ask("login", "/app/login", {credentials: "include"});
  await ask("account", "/app/account", {credentials: "include"});
  await ask("anonymous", "/app/anonymous", {credentials: "omit"});
  await ask("denied", "/app/denied");
  await ask("anybody", "/any/get");
  await ask("anybodyPut", "/any/put", {method: "PUT", headers: {"X-Team": "blue"}});
  await ask("anybodyWithCredentials", "/any/account", {credentials: "include"});
  await ask("nobody", "/none/get");
"""


class Page(RecordingBackend):
    """An origin of its own, with one page."""

    def __init__(self, port: int, script: str) -> None:
        self._content = (PAGE % {"port": port, "script": script}).encode()
        super().__init__(script=self._answer)

    def _answer(self, exchange: Exchange) -> None:
        exchange.respond(headers=[("Content-Type", "text/html")], body=self._content)

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.port}"


def answer(exchange: Exchange) -> None:
    """A backend that has its own opinion of origins, and knows who is logged in."""
    fields = [("X-Total", "3"), ("X-Own", "1"), ("Access-Control-Allow-Origin", "http://elsewhere.test")]
    if exchange.target.endswith("/login"):
        fields.append(("Set-Cookie", "user=ada; Path=/"))
    exchange.respond(headers=fields, body=",".join(exchange.all("cookie")).encode())


def told_by(page: Page, directory: Path) -> dict[str, Any]:
    """What the *page* says in the end, in a browser that has seen nothing before."""
    command = [
        *BROWSER,
        f"--user-data-dir={directory}",
        f"--virtual-time-budget={TIME}",
        "--dump-dom",
        f"{page.origin}/",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    found = re.search(r'<pre id="told">(.*?)</pre>', done.stdout, re.DOTALL)
    assert found is not None, done.stdout + done.stderr
    told: dict[str, Any] = json.loads(html.unescape(found[1]))
    return told


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with Gateway(tmp_path_factory.mktemp("gateway")) as running:
        yield running


@pytest.fixture
def backend() -> Iterator[RecordingBackend]:
    with RecordingBackend(script=answer) as running:
        yield running


def readable(text: str = "", status: int = 200, total: str | None = None) -> dict[str, Any]:
    return {"status": status, "text": text, "total": total, "own": None}


def test_pages_read_what_they_may(gateway: Gateway, backend: RecordingBackend, tmp_path: Path) -> None:
    port = free_port()
    with Page(port, ATTEMPTS) as allowed, Page(port, ATTEMPTS) as other:
        cors = middleware(
            "app",
            "cors",
            allowOrigins=[{"value": allowed.origin}],
            allowMethods=["GET", "PUT"],
            allowHeaders=["X-Team", "Content-Type"],
            exposeHeaders=["X-Total"],
            allowCredentials=True,
            maxAge=600,
        )
        anybody = middleware(
            "any", "cors", allowOrigins=[{"value": "*"}], allowMethods=["PUT"], allowHeaders=["x-team"]
        )
        rules = [{"cel": "request.path.endsWith('/denied')", "action": "deny"}]
        denial = middleware("denial", "inlineAuthz", rules=rules, defaultAction="allow", denyBody="no")
        chains = {"app": ["app", "denial"], "any": ["any"], "none": []}
        gateway.configure(
            listeners=[listener(port)],
            destinations=[destination("backend", backend.port)],
            routes=[
                {**route(name, {"pathPrefix": f"/{name}"}, forward=forward("backend")), "middlewareIds": chain}
                for name, chain in chains.items()
            ],
            middlewares=[cors, anybody, denial],
        )

        assert told_by(allowed, tmp_path / "allowed") == {
            "get": readable(total="3"),
            "put": readable(total="3"),
            "delete": "blocked",
            "field": "blocked",
            "login": readable(total="3"),
            "account": readable("user=ada", total="3"),
            "anonymous": readable(total="3"),
            "denied": readable("no", 403),
            "anybody": readable(),
            "anybodyPut": readable(),
            "anybodyWithCredentials": "blocked",
            "nobody": "blocked",
        }
        seen = {(request.method, request.target) for request in backend.requests}
        # Preflight requests were answered on the way, and what they did not allow was not sent.
        assert ("PUT", "/app/put") in seen
        assert ("PUT", "/any/put") in seen
        assert not {target for method, target in seen if method == "OPTIONS"}
        assert not {target for _, target in seen} & {"/app/delete", "/app/field"}

        backend.requests = []
        told = told_by(other, tmp_path / "other")
        assert {name for name, value in told.items() if value != "blocked"} == {"anybody", "anybodyPut"}
        seen = {(request.method, request.target) for request in backend.requests}
        # Simple requests are sent all the same, and only their answers withheld; others end with the preflight request.
        assert ("GET", "/app/get") in seen
        assert ("OPTIONS", "/app/put") in seen
        assert ("PUT", "/app/put") not in seen
