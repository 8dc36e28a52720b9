"""Vrata: ``vrata serve`` with one worker, configured over its REST API."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import ClassVar

from bench.comparison.cores import pin
from bench.comparison.program import UnavailableError, output_of
from bench.comparison.proxies.proxy import Proxy, Setup
from tests.support.conditions import accepts, eventually
from tests.support.gateway import Document, Gateway, destination, forward, listener, route


class Vrata(Proxy):
    """Limits and timeouts are the defaults; metrics are on, with their defaults."""

    name: ClassVar[str] = "vrata"

    def __init__(self, directory: Path, setup: Setup) -> None:
        super().__init__(directory, setup)
        self._gateway: Gateway | None = None
        self._workers: tuple[int, ...] = ()

    @classmethod
    def version(cls) -> str:
        said = output_of(sys.executable, "-m", "vrata", "--version").splitlines()
        if not said or not said[0].startswith("vrata "):
            raise UnavailableError(f"vrata --version says {said}")
        data_path = next((line for line in said if line.startswith("data path ")), "data path unknown")
        return f"{said[0].split()[1]} ({data_path.removeprefix('data path ')})"

    @property
    def gateway(self) -> Gateway:
        if self._gateway is None:
            raise RuntimeError("vrata was never started")
        return self._gateway

    def start(self) -> None:
        gateway = self._gateway = Gateway(self.directory / "files", proxy={"workers": 1}, log={"level": "warn"})
        try:
            gateway.start()
            self._load(gateway)
            eventually(lambda: accepts(self.port), 20, what="vrata accepts connections")
        except AssertionError as error:
            raise RuntimeError(f"{error}; vrata said:\n{gateway.process.text()[-2000:]}") from error
        workers = [worker for proxy in gateway.proxies() for worker in proxy["workers"]]
        self._workers = tuple(worker["pid"] for worker in workers)
        if len(self._workers) != 1:
            raise UnavailableError(f"vrata has {len(self._workers)} workers instead of 1")
        # Only now: to start, and to be configured, it has the whole machine.
        for pid in self._workers:
            pin(pid, self.setup.cores.proxy)
        for pid in self.control_path():
            pin(pid, self.setup.cores.load)

    def _load(self, gateway: Gateway) -> None:
        """Configure the site. Raises :class:`UnavailableError` when Vrata refuses it."""
        main = listener(self.port)
        if self.setup.site.tls:
            certificate = self.setup.certificate
            main["tls"] = {"cert": certificate.chain.read_text(), "key": certificate.key.read_text()}
        if self.setup.site.http2:
            main["http2"] = True
        routes = [
            route(f"route-{number}", {"pathPrefix": prefix}, forward=self._forward())
            for number, prefix in enumerate(self.setup.site.prefixes())
        ]
        gateway.call("POST", "/destinations", self._destination())
        with ThreadPoolExecutor(4) as clients:
            for _ in clients.map(lambda document: gateway.call("POST", "/routes", document), routes):
                pass
        gateway.call("POST", "/listeners", {**main, "metrics": {}})
        snapshot, refusal = self._capture(gateway)
        if not snapshot:
            raise UnavailableError(f"this build of vrata refuses the configuration: {refusal}")
        gateway.activate(snapshot, timeout=30)

    def _destination(self) -> Document:
        options: Document = {"http2": True} if self.setup.site.upstream_http2 else {}
        return destination("backend", self.setup.backend_port, **options)

    def _forward(self) -> Document:
        return forward("backend")

    @staticmethod
    def _capture(gateway: Gateway) -> tuple[str, str]:
        """The id of a new snapshot, or the reason why there is none."""
        response = gateway.api.post("/snapshots", json={"name": "bench"})
        document: Document = response.json()
        if response.is_success:
            return str(document["id"]), ""
        return "", " ".join(str(document.get("error", document)).split())

    def stop(self) -> None:
        gateway, self._gateway = self._gateway, None
        if gateway is not None:
            gateway.__exit__(None, None, None)

    def data_path(self) -> tuple[int, ...]:
        return self._workers

    def control_path(self) -> tuple[int, ...]:
        process = self.gateway.process
        return tuple(pid for pid in (process.pid, *process.descendants()) if pid not in self._workers)
