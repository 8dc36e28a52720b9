"""Stages: a proxy with one worker on its core, and a way through it for each subject that it has the feature of."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

from bench.middlewares.subject import Subject


class Stage(ABC):
    """One proxy, from start to end; a context manager."""

    name: ClassVar[str]
    lacks: ClassVar[Mapping[str, str]] = {}
    """By the names of subjects that it has no way for: why."""
    differs: ClassVar[Mapping[str, str]] = {}
    """By the names of subjects: what about its way is not what Vrata does."""

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @abstractmethod
    def start(self) -> None:
        """Return when it serves. Raises :class:`~bench.comparison.program.UnavailableError` when it cannot run here."""

    @abstractmethod
    def stop(self) -> None:
        """End it, whatever of it has started."""

    def has(self, subject: Subject) -> bool:
        """Whether there is a way for *subject*."""
        return subject.name not in self.lacks

    @abstractmethod
    def port(self, subject: Subject) -> int:
        """Where requests for *subject* go."""

    @abstractmethod
    def serving(self, subject: Subject) -> Sequence[int]:
        """Ids of the processes that serve *subject*."""

    @property
    @abstractmethod
    def log(self) -> Path:
        """The file of its access log."""

    def traced(self, subject: Subject) -> float:
        """How many requests for *subject* were recorded as spans, which have been sent, until now."""
        return 0.0

    def passed(self) -> Mapping[str, float]:
        """How often each feature that it counts has let a request pass until now.

        Raises ``RuntimeError`` when one has failed.
        """
        return {}
