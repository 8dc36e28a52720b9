"""The proxy with a route for each subject."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx

from bench.comparison.cores import Cores, pin
from bench.comparison.workload import Workload
from bench.middlewares.companions import Companions
from bench.middlewares.subject import BASE, PLAIN, SUBJECTS, Subject, middleware
from tests.support.conditions import accepts, eventually
from tests.support.exposition import Scraped
from tests.support.gateway import Document, Gateway, destination, forward, listener, route
from tests.support.ports import free_port

SAMPLED = 0.01


class Stage:
    """One Vrata with one worker on its core; a context manager."""

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
        self.workers: list[int] = []

    def __enter__(self) -> Self:
        self._gateway.__enter__()
        try:
            self._gateway.configure(
                listeners=self._listeners(),
                destinations=[
                    destination("backend", self._companions.port),
                    destination("http-service", self._companions.port),
                    destination("grpc-service", self._companions.grpc_port, http2=True),
                ],
                routes=self._routes(),
                middlewares=[middleware(subject, self._companions) for subject in self._own()],
            )
            for port in self._ports.values():
                eventually(lambda port=port: accepts(port), what="the listeners accept")  # type: ignore[misc]
            self.workers = self._gateway.workers()
            # Only now: to start, and to be configured, it has the whole machine.
            for pid in (self._gateway.process.pid, *self._gateway.process.descendants()):
                pin(pid, self._cores.proxy if pid in self.workers else self._cores.load)
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._gateway.__exit__(kind, error, trace)

    def port(self, subject: Subject) -> int:
        """Where requests for *subject* go."""
        return self._ports[subject.listener]

    def check(self, subject: Subject, field: str) -> None:
        """Ask once, with that header line. Raises ``RuntimeError`` when the answer is not the backend's."""
        name, _, value = field.partition(": ")
        headers = {"User-Agent": "bench", **({name: value} if field else {})}
        answer = httpx.get(f"http://127.0.0.1:{self.port(subject)}{subject.path}", headers=headers, timeout=10)
        if (answer.status_code, answer.content) != (200, Workload("", "").answer):
            raise RuntimeError(f"{subject.name} was answered with {answer.status_code}: {answer.text[:200]}")

    def passed(self) -> dict[str, float]:
        """How many requests each middleware has let pass. Raises ``RuntimeError`` when one has failed or refused."""
        scraped = Scraped(httpx.get(f"http://127.0.0.1:{self._ports[BASE]}/metrics", timeout=10).text)
        for name in ("vrata_middleware_errors_total", "vrata_middleware_rejections_total"):
            for middleware_name in sorted(scraped.values("middleware")):
                count = sum(scraped.all(name, middleware=middleware_name))
                if count:
                    raise RuntimeError(f"{name} of {middleware_name} is {count:.0f}")
        name = "vrata_middleware_passed_total"
        return {found: sum(scraped.all(name, middleware=found)) for found in scraped.values("middleware")}

    def _own(self) -> list[Subject]:
        """Those whose own middlewares are needed."""
        needed = {subject.route or subject.name for subject in self._subjects}
        return [subject for subject in SUBJECTS if subject.kind and not subject.route and subject.name in needed]

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
