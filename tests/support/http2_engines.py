"""The engine of HTTP/2 that a proxy in this process runs with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.support.session_engines import Engine
from vrata.wire.http2 import session


@contextmanager
def running(engine: Engine) -> Iterator[None]:
    """Connections that begin meanwhile use *engine*."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(session, "EngineSession", engine.make)
        yield
