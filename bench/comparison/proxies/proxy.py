"""What the comparison asks of a proxy."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from bench.comparison.certificate import Certificate
from bench.comparison.cores import Cores
from bench.comparison.program import Program
from bench.comparison.workload import Site
from tests.support.ports import free_port


@dataclass(frozen=True, slots=True)
class Setup:
    """What a proxy is started with."""

    site: Site
    backend_port: int
    """Of the backend in the version of HTTP that the site has."""
    certificate: Certificate
    cores: Cores


class Proxy(ABC):
    """One proxy with one worker on one core, listening on :attr:`port` of loopback; its files are in *directory*.

    Every implementation forwards with X-Forwarded-For, -Proto and -Host, keeps connections to the backend, writes no
    access log, and is otherwise as it comes.
    """

    name: ClassVar[str]

    def __init__(self, directory: Path, setup: Setup) -> None:
        directory.mkdir(parents=True)
        self.directory = directory
        self.setup = setup
        self.port = free_port()
        self.notes: list[str] = []
        """What a reader of the figures must know of how this proxy was run."""

    @classmethod
    @abstractmethod
    def version(cls) -> str:
        """The installed version. Raises :class:`~bench.comparison.program.UnavailableError` when there is none."""

    @abstractmethod
    def start(self) -> None:
        """Start it and return when it serves the site.

        Raises :class:`~bench.comparison.program.UnavailableError` when it cannot.
        """

    @abstractmethod
    def stop(self) -> None:
        """End all its processes. Does nothing when it was not started."""

    @abstractmethod
    def data_path(self) -> tuple[int, ...]:
        """Ids of the processes that serve requests."""

    def control_path(self) -> tuple[int, ...]:
        """Ids of its other processes; what they use is noted apart."""
        return ()


class ProgramProxy(Proxy):
    """A proxy that is one program, whose own process serves."""

    def __init__(self, directory: Path, setup: Setup) -> None:
        super().__init__(directory, setup)
        self._program: Program | None = None

    @abstractmethod
    def program(self) -> Program:
        """Write its configuration and return the program to start."""

    @property
    def pid(self) -> int:
        if self._program is None:
            raise RuntimeError(f"{self.name} was never started")
        return self._program.pid

    def start(self) -> None:
        self._program = self.program()
        self._program.start(self.port)

    def stop(self) -> None:
        if self._program is not None:
            self._program.stop()
            self._program = None

    def data_path(self) -> tuple[int, ...]:
        return (self.pid,)
