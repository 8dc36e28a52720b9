"""The ``extProc`` middleware: its instance, and its stages."""

from __future__ import annotations

from typing import Any

import structlog

from vrata.model.middleware.ext_proc import ExtProc
from vrata.proxy.callout.services import Services
from vrata.proxy.contracts import ClientRequest
from vrata.proxy.middleware.ext_proc.observation import Observation, Observatory
from vrata.proxy.middleware.ext_proc.processor import Processor, processor_of
from vrata.proxy.middleware.ext_proc.settings import PlaceSettings, place_settings
from vrata.proxy.middleware.ext_proc.transaction import Transaction
from vrata.proxy.middleware.ext_proc.transaction_stage import TransactionStage
from vrata.proxy.middleware.failure_log import FailureLog
from vrata.proxy.middleware.rejection import Rejection
from vrata.proxy.middleware.stage import Inner, Place, Stage

_log = structlog.get_logger("vrata.proxy.middleware")


class ExtProcInstance:
    """Implements :class:`vrata.proxy.middleware.instance.Instance`."""

    def __init__(self, settings: ExtProc, services: Services) -> None:
        self._settings = settings
        self._processor = processor_of(settings, services)
        self._failures = FailureLog("external processor failed")
        self._observatory: Observatory | None = None
        observe = settings.observe_mode
        if observe.enabled:
            self._observatory = Observatory(
                self._processor, observe.workers, observe.queue_size, services.loop.time, self._failures
            )

    def __repr__(self) -> str:
        return f"<ExtProcInstance {self._processor!r}>"

    def stage(self, place: Place, inner: Inner) -> Inner:
        """Make the stage at *place*."""
        override = place.override.ext_proc if place.override is not None else None
        settings = place_settings(self._settings, override, place.destinations)
        if self._observatory is not None:
            return ObservingStage(place, inner, settings, self._observatory)
        return ProcessingStage(place, inner, settings, self._processor, self._failures)

    def close(self) -> None:
        """There is nothing to give back: what is under way ends by itself."""


class ProcessingStage(Stage, TransactionStage):
    """Has the processor asked about every request, and what becomes of it."""

    __slots__ = ("_failures", "_processor", "_settings")

    def __init__(
        self, place: Place, inner: Inner, settings: PlaceSettings, processor: Processor, failures: FailureLog
    ) -> None:
        super().__init__(place, inner)
        self._settings = settings
        self._processor = processor
        self._failures = failures

    def run(self, request: ClientRequest, match: Any, content: bytes, end: bool) -> None:
        """Begin a transaction."""
        transaction = Transaction(self, self._settings, request, match, self.began(request))
        transaction.begin(self._processor.open(transaction, request, self._settings), content, end)

    def enter(self, request: ClientRequest, match: Any, content: bytes, end: bool, began: float) -> None:
        """Let *request* go on."""
        self.pass_on(request, match, content, end, began)

    def refuse(self, request: ClientRequest, rejection: Rejection, began: float) -> None:
        """Answer *request*."""
        self.reject(request, rejection, began)

    def answered(self, request: ClientRequest, status: int, began: float) -> None:
        """The processor answers *request* itself."""
        self.rejected(request, status, began)

    def explained(self, request: ClientRequest, details: str) -> None:
        """Why the processor has rejected *request*."""
        _log.info("rejected by external processor", middleware=self.place.name, details=details)

    def failed(self, request: ClientRequest, reason: str) -> None:
        """The processor has failed."""
        self._failures.tell(self.place.name, reason=reason)
        self.count_failure(request)


class ObservingStage(Stage):
    """Has the processor watch."""

    __slots__ = ("_observatory", "_settings")

    def __init__(self, place: Place, inner: Inner, settings: PlaceSettings, observatory: Observatory) -> None:
        super().__init__(place, inner)
        self._settings = settings
        self._observatory = observatory

    def run(self, request: ClientRequest, match: Any, content: bytes, end: bool) -> None:
        """Let *request* go on at once, under observation."""
        began = self.began(request)
        observation = Observation(self.place, self._observatory, self._settings, request)
        observation.begin(content, end)
        self.pass_on(observation, match, content, end, began)
