"""Generated streams of requests and responses; ``python -m tests.robustness.campaign`` runs many more of them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.robustness.differential import Differential
from tests.robustness.generation import divided, streams
from tests.robustness.property import assert_consistent, assert_response_consistent
from tests.robustness.response_differential import ResponseDifferential
from tests.robustness.response_generation import METHODS, responses

BRIEFLY = settings(
    max_examples=300,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large],
)


@pytest.fixture(scope="module")
def response_differential(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ResponseDifferential]:
    with ResponseDifferential(tmp_path_factory.mktemp("nginx")) as found:
        yield found


@BRIEFLY
@given(data=streams(), chance=st.data())
def test_whatever_a_client_sends(differential: Differential, data: bytes, chance: st.DataObject) -> None:
    assert_consistent(differential, data, chance.draw(divided(data)))


@BRIEFLY
@given(data=responses(), method=METHODS, chance=st.data())
def test_whatever_a_backend_sends(
    response_differential: ResponseDifferential, data: bytes, method: bytes, chance: st.DataObject
) -> None:
    assert_response_consistent(response_differential, data, method, chance.draw(divided(data)))
