"""A control plane as a process of its own."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping

from tests.support.conditions import accepts, eventually
from tests.support.configuration import Configuration
from tests.support.processes import VrataProcess


@contextlib.contextmanager
def control_plane(configuration: Configuration, environ: Mapping[str, str] | None = None) -> Iterator[VrataProcess]:
    """One that accepts connections."""
    with VrataProcess(
        "controlplane", *configuration.arguments, directory=configuration.directory, environ=environ
    ) as process:
        eventually(lambda: accepts(configuration.api_port) or not process.is_running, what="the API listens")
        assert process.is_running, process.text()
        yield process
