"""The demo: a whole Vrata out of nothing, with two backends to play with.

Its configuration is a file like any other, written below ``./data``; its entities are created over the REST API, as
anybody would. What it finds there from an earlier run it leaves alone, except for ports that have changed.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import typer
import yaml

from vrata.app.serve import Companion, StartError

HOST = "127.0.0.1"
DIRECTORY = Path("data")
CONFIG_FILE = "demo.yaml"

START_TIMEOUT = 60.0
"""Seconds until everything has to answer."""
GATEWAY_TIMEOUT = 20.0
"""Seconds for which the demo listener is waited for, which may have been changed since."""
_POLL = 0.05

Entity = dict[str, Any]


@dataclass(frozen=True, slots=True)
class DemoPorts:
    """Where the demo listens, on the loopback address."""

    api: int = 8080
    listener: int = 3000
    blue: int = 9101
    green: int = 9102

    @classmethod
    def parse(cls, text: str) -> DemoPorts:
        """Read four numbers separated by commas, in the order of the fields. Raises ``ValueError``."""
        ports = [int(part) for part in text.split(",")]
        if len(ports) != 4 or len(set(ports)) != 4 or not all(0 < port < 65536 for port in ports):
            raise ValueError("must be four different ports: API, listener, first backend, second backend")
        return cls(*ports)

    def check_free(self) -> None:
        """Raise :class:`StartError` if somebody listens on one of them."""
        for use, port in (
            ("the REST API", self.api),
            ("the listener", self.listener),
            ("the first backend", self.blue),
            ("the second backend", self.green),
        ):
            with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind((HOST, port))
                except OSError as error:
                    raise StartError(
                        f"port {port} for {use} of the demo: {error.strerror}; choose others with --demo-ports"
                    ) from None


class Demo:
    """The demo on certain ports, with its files in *directory*."""

    def __init__(self, ports: DemoPorts, directory: Path = DIRECTORY) -> None:
        self._ports = ports
        self._directory = directory
        self._api = f"http://{HOST}:{ports.api}/api/v1"
        self._gateway = f"http://{HOST}:{ports.listener}"
        self._is_behind = False
        """Whether the snapshot that is active has other ports."""

    def write_config(self) -> Path:
        """Write the configuration file and return its path. Raises :class:`StartError`."""
        path = self._directory / CONFIG_FILE
        document = {
            "controlPlane": {"address": f"{HOST}:{self._ports.api}", "storePath": str(self._directory)},
            "proxy": {"reconnectInterval": "1s"},
        }
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            path.write_text("# Written by `vrata serve --demo` at every start.\n" + yaml.safe_dump(document))
        except OSError as error:
            raise StartError(f"{path}: {error.strerror}") from None
        return path

    def companion(self) -> Companion:
        """Return what the launcher runs for the demo."""
        return Companion(
            "demo backends", ("demo-backends", str(self._ports.blue), str(self._ports.green)), self._prepare
        )

    async def _prepare(self) -> None:
        try:
            async with asyncio.timeout(START_TIMEOUT), httpx.AsyncClient(trust_env=False) as client:
                await _until_answered(client, f"{self._api}/snapshots")
                if await self._seed(client):
                    await self._publish(client)
                for url in (f"http://{HOST}:{self._ports.blue}", f"http://{HOST}:{self._ports.green}"):
                    await _until_answered(client, url)
                if self._is_behind:
                    typer.echo(self._banner() + self._notice())
                    return
                with contextlib.suppress(TimeoutError):
                    # Somebody may have taken the listener away on purpose, or answer there whatever they like.
                    async with asyncio.timeout(GATEWAY_TIMEOUT):
                        await _until_answered(client, f"{self._gateway}/", successfully=False)
        except TimeoutError:
            raise StartError(f"the demo does not answer within {START_TIMEOUT:g} s") from None
        except httpx.HTTPStatusError as error:
            raise StartError(f"the demo cannot be set up: {error.request.url}: {error.response.text.strip()}") from None
        typer.echo(self._banner())

    async def _seed(self, client: httpx.AsyncClient) -> bool:
        """Create what is missing, correct what must differ; whether there is anything to publish.

        What somebody has staged, or gone back from, is not published along with new ports.
        """
        snapshots = _content(await client.get(f"{self._api}/snapshots"))
        is_first = not snapshots
        changed = is_first
        active: Entity | None = None
        for summary in snapshots:
            if summary["active"]:
                active = _content(await client.get(f"{self._api}/snapshots/{summary['id']}"))["snapshot"]
        is_all_active = active is None or active == _content(await client.get(f"{self._api}/debug/config"))
        for collection, entity in self._entities():
            url = f"{self._api}/{collection}/{entity['id']}"
            response = await client.get(url)
            if response.status_code == httpx.codes.NOT_FOUND:
                # What somebody deleted on purpose stays deleted.
                if is_first:
                    _content(await client.post(f"{self._api}/{collection}", json=entity))
            elif "port" in entity and _content(response)["port"] != entity["port"]:
                _content(await client.put(url, json={**response.json(), "port": entity["port"]}))
                changed = True
        if active is not None and not is_all_active:
            self._is_behind = self._has_other_ports(active)
            return False
        return changed

    def _has_other_ports(self, active: Entity) -> bool:
        wanted = {
            (collection, entity["id"]): entity["port"] for collection, entity in self._entities() if "port" in entity
        }
        return any(
            wanted.get((collection, entity["id"]), entity["port"]) != entity["port"]
            for collection in ("destinations", "listeners")
            for entity in active[collection]
        )

    async def _publish(self, client: httpx.AsyncClient) -> None:
        snapshot = _content(await client.post(f"{self._api}/snapshots", json={"name": "demo"}))
        _content(await client.post(f"{self._api}/snapshots/{snapshot['id']}/activate"))

    def _entities(self) -> Iterator[tuple[str, Entity]]:
        for colour, port in (("blue", self._ports.blue), ("green", self._ports.green)):
            yield "destinations", {"id": f"demo-{colour}", "name": f"demo-{colour}", "host": HOST, "port": port}
        yield (
            "listeners",
            {"id": "demo", "name": "demo", "address": HOST, "port": self._ports.listener},
        )
        yield (
            "routes",
            {
                "id": "demo-split",
                "name": "demo-split",
                "match": {"pathPrefix": "/"},
                "forward": {
                    "destinations": [
                        {"destinationId": "demo-blue", "weight": 80},
                        {"destinationId": "demo-green", "weight": 20},
                    ]
                },
            },
        )
        yield (
            "routes",
            {
                "id": "demo-hello",
                "name": "demo-hello",
                "match": {"path": "/hello"},
                "directResponse": {"status": 200, "body": "Hello from Vrata\n"},
            },
        )
        yield (
            "routes",
            {
                "id": "demo-docs",
                "name": "demo-docs",
                "match": {"path": "/docs"},
                "redirect": {"url": f"{self._api}/docs/", "code": 302},
            },
        )

    def _banner(self) -> str:
        return f"""
  Vrata is up.

    proxy      {self._gateway}
    REST API   {self._api}
    explorer   {self._api}/docs/
    backends   http://{HOST}:{self._ports.blue} (blue), http://{HOST}:{self._ports.green} (green)

  Worth trying: a request that the blue backend answers four times out of five, one that the proxy
  answers itself, and what the control plane knows of the proxy.

    curl {self._gateway}/any/path
    curl {self._gateway}/hello
    curl {self._api}/proxies

  Ctrl-C ends it.
"""

    def _notice(self) -> str:
        return f"""
  The snapshot that is active has other ports, and goes on as it is: more is staged than these, which you
  may not want to act. To have all that is staged act, make a snapshot and activate it:

    curl {self._api}/debug/config
    curl -X POST {self._api}/snapshots -d '{{"name": "new ports"}}'
    curl -X POST {self._api}/snapshots/<its id>/activate
"""


async def _until_answered(client: httpx.AsyncClient, url: str, *, successfully: bool = True) -> None:
    while True:
        try:
            if (await client.get(url)).is_success or not successfully:
                return
        except httpx.TransportError:
            pass
        await asyncio.sleep(_POLL)


def _content(response: httpx.Response) -> Any:
    response.raise_for_status()
    return response.json()
