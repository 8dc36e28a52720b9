"""A running ``vrata serve`` with a REST client: what black-box tests and benchmarks drive.

The *entities* are what is to be staged, as REST documents; :meth:`Gateway.configure` replaces what is staged with them,
captures a snapshot, activates it, and returns when every worker of the proxy acts on it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from tests.support.conditions import eventually
from tests.support.configuration import Configuration
from tests.support.processes import VrataProcess, process_name

Document = dict[str, Any]

COLLECTIONS = ("listeners", "destinations", "routes", "groups", "middlewares")


@dataclass(frozen=True, slots=True)
class Entities:
    """Everything that is to be staged, by kind."""

    listeners: tuple[Document, ...] = ()
    destinations: tuple[Document, ...] = ()
    routes: tuple[Document, ...] = ()
    groups: tuple[Document, ...] = ()
    middlewares: tuple[Document, ...] = ()


def listener(port: int, id: str = "main", **fields: Any) -> Document:  # noqa: A002 - the name of the field
    """A plain listener on the loopback address."""
    return {"id": id, "name": id, "address": "127.0.0.1", "port": port, **fields}


def destination(id: str, port: int, host: str = "127.0.0.1", **options: Any) -> Document:  # noqa: A002
    """A destination with one endpoint."""
    document: Document = {"id": id, "name": id, "host": host, "port": port}
    return document | ({"options": options} if options else {})


def forward(*destination_ids: str, **fields: Any) -> Document:
    """A forward action to one destination, or to several with equal weights (the first takes the rest)."""
    share = 100 // len(destination_ids)
    weights = [100 - share * (len(destination_ids) - 1)] + [share] * (len(destination_ids) - 1)
    return {
        "destinations": [
            {"destinationId": found, "weight": weight} for found, weight in zip(destination_ids, weights, strict=True)
        ],
        **fields,
    }


def route(id: str, match: Document | None = None, **action: Any) -> Document:  # noqa: A002
    """A route; *action* is ``forward=``, ``redirect=`` or ``directResponse=``."""
    return {"id": id, "name": id, "match": match or {}, **action}


class Gateway:
    """One Vrata on ports of its own, with its files in *directory*; a context manager.

    *sections* are merged into config.yaml, for example ``proxy={"workers": 1}``.
    """

    def __init__(self, directory: Path, **sections: Document) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.configuration = Configuration(directory, **sections)
        self.process = VrataProcess("serve", *self.configuration.arguments, directory=directory)
        self.api = httpx.Client(base_url=f"{self.configuration.api_url}/api/v1", timeout=60)
        self._captured = 0

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException as error:
            self.__exit__(type(error), error, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self.process.is_running and error is None:
                self.process.terminate(40)
        finally:
            self.process.__exit__(kind, error, trace)
            self.api.close()

    def start(self) -> None:
        """Start it and return when the API answers and the proxy is connected."""
        self.process.start()
        try:
            eventually(self._is_up, 30, what="the control plane answers and its proxy is connected")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.process.text()}") from None

    def workers(self) -> list[int]:
        """Process ids of the workers, by slot."""
        names = {pid: process_name(pid) for pid in self.process.descendants()}
        return sorted(
            (pid for pid, name in names.items() if name.startswith("vrata-worker-")), key=lambda pid: names[pid]
        )

    def _is_up(self) -> bool:
        if not self.process.is_running:
            raise AssertionError(f"{self.process} ended with {self.process.wait()}")
        try:
            return any(proxy["connected"] for proxy in self.proxies())
        except httpx.TransportError:
            return False

    # the API

    def call(self, method: str, path: str, document: Document | None = None) -> Any:
        """One API call that is to succeed; returns its JSON body, ``None`` when there is none."""
        response = self.api.request(method, path, json=document)
        assert response.is_success, f"{method} {path}: {response.status_code} {response.text}"
        return response.json() if response.content else None

    def proxies(self) -> list[Document]:
        """What the control plane knows of its proxies."""
        return list(self.call("GET", "/proxies"))

    def stage(self, entities: Entities) -> None:
        """Make the staged entities exactly *entities*."""
        for collection in COLLECTIONS:
            wanted: dict[str, Document] = {document["id"]: document for document in getattr(entities, collection)}
            present = {document["id"] for document in self.call("GET", f"/{collection}")}
            for found in sorted(present - wanted.keys()):
                self.call("DELETE", f"/{collection}/{found}")
            for identifier, document in wanted.items():
                if identifier in present:
                    self.call("PUT", f"/{collection}/{identifier}", document)
                else:
                    self.call("POST", f"/{collection}", document)

    def capture(self, name: str = "") -> str:
        """Create a snapshot of what is staged and return its id."""
        self._captured += 1
        return str(self.call("POST", "/snapshots", {"name": name or f"snapshot {self._captured}"})["id"])

    def activate(self, snapshot_id: str, timeout: float = 20) -> None:
        """Activate a snapshot and return when every proxy has said that it acts on it."""
        self.call("POST", f"/snapshots/{snapshot_id}/activate")
        eventually(lambda: self._all_act_on(snapshot_id), timeout, what=f"the proxies act on {snapshot_id}")

    def configure(
        self,
        *,
        listeners: Iterable[Document] = (),
        destinations: Iterable[Document] = (),
        routes: Iterable[Document] = (),
        groups: Iterable[Document] = (),
        middlewares: Iterable[Document] = (),
    ) -> str:
        """Stage exactly these entities, capture, activate, wait until they act; returns the snapshot's id."""
        self.stage(Entities(tuple(listeners), tuple(destinations), tuple(routes), tuple(groups), tuple(middlewares)))
        snapshot_id = self.capture()
        self.activate(snapshot_id)
        return snapshot_id

    def _all_act_on(self, snapshot_id: str) -> bool:
        proxies = [proxy for proxy in self.proxies() if proxy["connected"]]
        for proxy in proxies:
            applied = proxy["lastApply"]
            if applied and applied["snapshotId"] == snapshot_id and applied["status"] == "rejected":
                raise AssertionError(f"proxy {proxy['id']} rejected the snapshot: {applied}")
        return bool(proxies) and all((proxy["activeSnapshot"] or {}).get("id") == snapshot_id for proxy in proxies)
