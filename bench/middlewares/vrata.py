"""Vrata: a route for each subject."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import httpx

from bench.comparison.cores import Cores, pin
from bench.middlewares.companions import Companions
from bench.middlewares.stage import Stage
from bench.middlewares.subject import BASE, PLAIN, SUBJECTS, TIGHT, Subject, middleware
from tests.support.conditions import accepts, eventually
from tests.support.exposition import Scraped
from tests.support.gateway import Document, Gateway, destination, forward, listener, route
from tests.support.ports import free_port

SAMPLED = 0.01


class VrataStage(Stage):
    """Several listeners, for what is set on those; metrics are on, with their defaults, where nothing else is said."""

    name: ClassVar[str] = "vrata"

    def __init__(self, directory: Path, subjects: Sequence[Subject], companions: Companions, cores: Cores) -> None:
        self._subjects = subjects
        self._companions = companions
        self._cores = cores
        self._gateway = Gateway(
            directory,
            proxy={"workers": 1, "pythonMiddlewares": {"path": [str(companions.classes)]}},
            sessionStore={"type": "redis", "redis": {"address": f"127.0.0.1:{companions.redis.port}"}},
            log={"level": "warn"},
        )
        self._ports = {name: free_port() for name in (BASE, "unmetered", "traced", "sampled")}
        self._log = directory / "access.log"
        self._workers: list[int] = []

    def start(self) -> None:
        self._gateway.start()
        self._gateway.configure(
            listeners=self._listeners(),
            destinations=[
                destination("backend", self._companions.port),
                destination("http-service", self._companions.port),
                destination("grpc-service", self._companions.grpc_port, http2=True),
            ],
            routes=self._routes(),
            middlewares=[middleware(subject, self._companions, self._log) for subject in self._own()],
        )
        for port in self._ports.values():
            eventually(lambda port=port: accepts(port), what="the listeners accept")  # type: ignore[misc]
        self._workers = self._gateway.workers()
        # Only now: to start, and to be configured, it has the whole machine.
        for pid in (self._gateway.process.pid, *self._gateway.process.descendants()):
            pin(pid, self._cores.proxy if pid in self._workers else self._cores.load)

    def stop(self) -> None:
        self._gateway.__exit__(None, None, None)

    def port(self, subject: Subject) -> int:
        return self._ports[subject.listener]

    def serving(self, subject: Subject) -> Sequence[int]:
        return self._workers

    @property
    def log(self) -> Path:
        return self._log

    def traced(self, subject: Subject) -> float:
        return sum(self._scraped(subject.listener).all("vrata_trace_spans_total", outcome="exported"))

    def passed(self) -> dict[str, float]:
        scraped = self._scraped(BASE)
        for name in ("vrata_middleware_errors_total", "vrata_access_log_dropped_lines_total"):
            for middleware_name in sorted(scraped.values("middleware")):
                count = sum(scraped.all(name, middleware=middleware_name))
                if count:
                    raise RuntimeError(f"{name} of {middleware_name} is {count:.0f}")
        name = "vrata_middleware_passed_total"
        return {found: sum(scraped.all(name, middleware=found)) for found in scraped.values("middleware")}

    def _scraped(self, name: str) -> Scraped:
        """The metrics of that listener."""
        return Scraped(httpx.get(f"http://127.0.0.1:{self._ports[name]}/metrics", timeout=10).text)

    def _own(self) -> list[Subject]:
        """Those whose own middlewares are needed."""
        needed = {subject.route or subject.name for subject in self._subjects}
        found = [subject for subject in SUBJECTS if subject.kind and not subject.route and subject.name in needed]
        return [*found, *([TIGHT] if "rate-limit" in needed else [])]

    def _listeners(self) -> list[Document]:
        tracing = {"destinationId": "http-service"}
        return [
            listener(self._ports[BASE], BASE, metrics={}),
            listener(self._ports["unmetered"], "unmetered"),
            listener(self._ports["traced"], "traced", metrics={}, tracing=tracing),
            listener(self._ports["sampled"], "sampled", metrics={}, tracing={**tracing, "samplingRatio": SAMPLED}),
        ]

    def _routes(self) -> list[Document]:
        plain = route(PLAIN, {"path": f"/{PLAIN}"}, forward=forward("backend"))
        others = [
            route(subject.name, {"path": subject.path}, forward=forward("backend")) | {"middlewareIds": [subject.name]}
            for subject in self._own()
        ]
        return [plain, *others]
