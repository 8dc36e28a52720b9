"""A short run of every fuzzing target that is the same each time, so that none of them rots between long runs."""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz import chunked_body, connections, protobuf_message, proxy_header, request_head, response_head, token

TARGETS = (request_head, response_head, chunked_body, proxy_header, token, protobuf_message, connections)
EXAMPLES = {
    **dict.fromkeys((request_head, response_head, token, protobuf_message, connections), 300),
    **dict.fromkeys((chunked_body, proxy_header), 500),
}


@pytest.fixture(autouse=True, scope="module")
def _nothing_is_left() -> Iterator[None]:
    yield
    connections.close()


def each_target() -> pytest.MarkDecorator:
    return pytest.mark.parametrize("target", TARGETS, ids=[target.__name__.rpartition(".")[2] for target in TARGETS])


@each_target()
def test_seeds(target: ModuleType) -> None:
    for seed in target.seeds():
        target.check(seed)


@each_target()
def test_changed_seeds(target: ModuleType) -> None:
    seeds = list(target.seeds())
    words = st.sampled_from(target.DICTIONARY)

    @settings(max_examples=EXAMPLES[target], deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(st.data())
    def check(data: st.DataObject) -> None:
        message = data.draw(st.sampled_from(seeds))
        for _ in range(data.draw(st.integers(1, 4))):
            at = data.draw(st.integers(0, len(message)))
            cut = data.draw(st.integers(0, 4))
            message = message[:at] + data.draw(st.one_of(words, st.binary(max_size=6))) + message[at + cut :]
        target.check(message + data.draw(st.sampled_from([b"", b"", data.draw(st.sampled_from(seeds))])))

    check()
