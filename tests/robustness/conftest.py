"""One proxy, backend and nginx for each module."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.robustness.differential import Differential


@pytest.fixture(scope="module")
def differential(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Differential]:
    with Differential(tmp_path_factory.mktemp("nginx")) as found:
        yield found
