"""Envoy: a listener for each subject, so that requests pass the filters of their subject alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import httpx

from bench.comparison.proxies import envoy
from bench.comparison.proxies.envoy import address, cluster
from bench.comparison.proxies.proxy import Setup
from bench.middlewares import envoy_ways
from bench.middlewares.envoy_ways import GRPC_SERVICE, HTTP_SERVICE, Surroundings
from bench.middlewares.stage import Stage
from bench.middlewares.subject import PLAIN, TIGHT, Subject
from tests.support.ports import free_port

SPANS_AT_ONCE = 512
"""Spans in one request to the collector: as many as Vrata sends."""


class Envoy(envoy.Envoy):
    """With the ways *names*."""

    def __init__(self, directory: Path, setup: Setup, names: Sequence[str], surroundings: Surroundings, grpc: int):
        """*grpc* is the port of the services of gRPC."""
        super().__init__(directory, setup)
        self._surroundings = surroundings
        self._grpc = grpc
        self.ports = {name: self.port if name == PLAIN else free_port() for name in names}
        self.admin = free_port()

    def _bootstrap(self) -> dict[str, Any]:
        flushing = {"tracing": {"opentelemetry": {"min_flush_spans": SPANS_AT_ONCE}}}
        return {
            "static_resources": {
                "listeners": [self._way(name) for name in self.ports],
                "clusters": [
                    self._cluster(),
                    cluster(HTTP_SERVICE, self._surroundings.http_service),
                    cluster(GRPC_SERVICE, self._grpc, http2=True),
                ],
            },
            "admin": {"address": address(self.admin)},
            "layered_runtime": {"layers": [{"name": "bench", "static_layer": flushing}]},
        }

    def _way(self, name: str) -> dict[str, Any]:
        listener = self._listener()
        listener |= {"name": name, "address": address(self.ports[name])}
        manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
        manager["stat_prefix"] = name
        envoy_ways.change(name, manager, self._surroundings)
        return listener

    def counted(self, name: str) -> float:
        """The counter of that name. Raises ``RuntimeError`` when there is none."""
        answer = httpx.get(f"http://127.0.0.1:{self.admin}/stats?format=json&filter=^{name}$", timeout=10)
        for found in answer.json()["stats"]:
            if found.get("name") == name:
                return float(found["value"])
        raise RuntimeError(f"Envoy counts no {name}")


class Unmetered(Envoy):
    """Counts nothing."""

    name: ClassVar[str] = "envoy-unmetered"

    def _bootstrap(self) -> dict[str, Any]:
        return {**super()._bootstrap(), "stats_config": {"stats_matcher": {"reject_all": True}}}


class EnvoyStage(Stage):
    """Two processes: whether Envoy counts is the same for all of its listeners."""

    name: ClassVar[str] = "envoy"
    lacks: ClassVar[Mapping[str, str]] = {
        "rate-limit-redis": "asks a service of its own, which may use Redis",
        "ext-authz-grpc": "has a contract of its own",
        "ext-proc-grpc": "has a contract of its own",
        "python-async": "no scripts that wait but for calls",
    }
    differs: ClassVar[Mapping[str, str]] = {
        "no-metrics": "a process without any statistics, beside one with all",
        "headers": "on the route, not by a filter",
        "jwt": "jwt_cache_config, which is off as it comes, for 1,000 tokens",
        "jwt-new": "the same, so that no token is found in it",
        "rate-limit": "local_ratelimit, a wildcard descriptor of remote_address",
        "inline-authz": "RBAC by conditions of path and headers, no expressions",
        "access-log": "its id is an x-request-id, which other subjects have not",
        "ext-authz-http": "asks with the request's method, below /check",
        "ext-proc-http": "its own contract in JSON",
        "python": "Lua (LuaJIT), its nearest",
        "traced": f"{SPANS_AT_ONCE} spans at once, as Vrata, instead of 5; x-request-id",
        "sampled": f"{SPANS_AT_ONCE} spans at once, as Vrata, instead of 5; x-request-id",
    }

    def __init__(
        self, directory: Path, setup: Setup, subjects: Sequence[Subject], surroundings: Surroundings, grpc: int
    ) -> None:
        needed = {subject.name for subject in subjects if self.has(subject)}
        self._log = surroundings.log
        names = [PLAIN, *sorted(self._way(subject) for subject in subjects if subject.name in needed - {PLAIN})]
        if "rate-limit" in needed:
            names.append(TIGHT.name)
        self._main = Envoy(directory / "main", setup, list(dict.fromkeys(names)), surroundings, grpc)
        self._unmetered = (
            Unmetered(directory / "unmetered", setup, [PLAIN], surroundings, grpc) if "no-metrics" in needed else None
        )

    def start(self) -> None:
        self._main.start()
        if self._unmetered is not None:
            self._unmetered.start()

    def stop(self) -> None:
        self._main.stop()
        if self._unmetered is not None:
            self._unmetered.stop()

    @staticmethod
    def _way(subject: Subject) -> str:
        """Which listener it has: that of another where Vrata has the route of another, and differs in the load."""
        return subject.name if subject.listener in ("traced", "sampled") else subject.route or subject.name

    def port(self, subject: Subject) -> int:
        return self._process(subject).ports[self._way(subject)]

    def serving(self, subject: Subject) -> Sequence[int]:
        return self._process(subject).data_path()

    def _process(self, subject: Subject) -> Envoy:
        if subject.listener == "unmetered" and self._unmetered is not None:
            return self._unmetered
        return self._main

    @property
    def log(self) -> Path:
        return self._log

    def traced(self, subject: Subject) -> float:
        # What is sent is counted for all listeners together.
        sent = self._main.counted("tracing.opentelemetry.spans_sent")
        return min(sent, self._main.counted(f"http.{self._way(subject)}.tracing.random_sampling"))
