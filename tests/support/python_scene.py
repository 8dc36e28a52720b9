"""A proxy with one route to a staged backend, past a middleware that is a class of the test's."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from types import ModuleType
from typing import Any

import structlog

from tests.support.gateway import destination, forward
from tests.support.in_process_metrics import InProcessMetrics
from tests.support.in_process_proxy import Document, InProcessProxy
from tests.support.staged_backend import StagedBackend
from tests.support.stream_client import StreamClient
from vrata.middleware import Middleware
from vrata.net.event_loop import new_event_loop
from vrata.proxy.dataplane import ApplyReport
from vrata.proxy.middleware.python.modules import PythonModules


class PythonScene:
    """What the test has at hand."""

    def __init__(self, proxy: InProcessProxy, backend: StagedBackend, module: ModuleType, logged: list[Any]) -> None:
        self.proxy = proxy
        self.backend = backend
        self.metrics = InProcessMetrics(proxy)
        self._module = module
        self._logged = logged

    async def apply(self, cls: type[Middleware], action: Document | None = None, **members: Any) -> StreamClient:
        """Serve with *cls* in front of the backend, or of another *action*; *members* are the middleware's settings."""
        report = await self.apply_settings({"class": self.name(cls), **members}, action)
        assert not report.problems
        return await self.proxy.connect()

    def name(self, cls: type[Middleware]) -> str:
        """What settings call *cls* from now on."""
        setattr(self._module, cls.__name__, cls)
        return f"mine:{cls.__name__}"

    async def apply_settings(self, settings: Document, action: Document | None = None, *inner: Document) -> ApplyReport:
        """Serve with a middleware of these *settings*, and more of them further inside."""
        middlewares = [
            {"id": f"p{number}", "name": "mine" if not number else f"inner {number}", "type": "python", "python": each}
            for number, each in enumerate((settings, *inner))
        ]
        ids = [each["id"] for each in middlewares]
        route = {"id": "r", "name": "r", "match": {}, **(action or {"forward": forward("b")}), "middlewareIds": ids}
        return await self.proxy.apply(
            route,
            listeners=[self.proxy.listener(metrics={}, http2=True)],
            destinations=[destination("b", self.backend.port)],
            middlewares=middlewares,
        )

    def logged(self) -> list[tuple[str, str]]:
        """Level and event of what was logged so far as a warning or worse, and forget it."""
        entries = [
            (each["log_level"], each["event"]) for each in self._logged if each["log_level"] not in ("info", "debug")
        ]
        self._logged.clear()
        return entries

    async def counted(self) -> tuple[float, float, float]:
        """Requests that went on, that were answered, and failures, since the start."""
        scraped = await self.metrics.scrape()
        passed, rejected, failed = (
            sum(scraped.all(f"vrata_middleware_{name}_total", middleware="mine", type="python"))
            for name in ("passed", "rejections", "errors")
        )
        return passed, rejected, failed


def python_scene(scenario: Callable[[PythonScene], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    """The test that runs *scenario*, and finds nothing logged that it has not asked for."""

    def test() -> None:
        surprises: list[dict[str, Any]] = []

        async def main() -> None:
            asyncio.get_running_loop().set_exception_handler(lambda _, context: surprises.append(context))
            module = ModuleType("mine")
            proxy = InProcessProxy(python_modules=PythonModules({"mine": module}, {}, has_directories=True))
            async with StagedBackend() as backend:
                scene = PythonScene(proxy, backend, module, entries)
                try:
                    async with asyncio.timeout(90):
                        await scenario(scene)
                finally:
                    await proxy.end()
                assert not scene.logged()

        with structlog.testing.capture_logs() as entries, asyncio.Runner(loop_factory=new_event_loop) as runner:
            runner.run(main())
        assert not surprises

    test.__name__, test.__qualname__, test.__doc__ = scenario.__name__, scenario.__qualname__, scenario.__doc__
    test.__module__ = scenario.__module__
    return test
