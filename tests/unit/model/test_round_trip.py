"""Properties of reading and writing, over generated documents of every kind."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.model.strategies import documents
from vrata.model import KINDS, Entity, InvalidEntity

KEPT_ZEROS = {"append", "failureThreshold", "consecutive5xx", "maxEjectionPercent", "allowOnError"}
COLLECTED = {"route", "destination", "middleware", "listener"}

any_entity = st.sampled_from(sorted(KINDS)).flatmap(lambda kind: st.tuples(st.just(kind), documents[kind]))
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
    max_leaves=4,
)


@pytest.mark.parametrize("kind", list(KINDS))
@settings(max_examples=60)
@given(data=st.data())
def test_reading_what_was_written_gives_the_same(kind: str, data: st.DataObject) -> None:
    sent = data.draw(documents[kind])
    entity = KINDS[kind].parse(sent)
    document = entity.document()
    again = KINDS[kind].parse(json.loads(json.dumps(document)))
    assert again == entity
    assert again.document() == document


@settings(max_examples=150)
@given(any_entity)
def test_what_was_stated_is_shown(sent: tuple[str, dict[str, Any]]) -> None:
    kind, document = sent
    lost = [*losses(document, KINDS[kind].parse(document).document(), "")]
    assert not lost


@settings(max_examples=150)
@given(any_entity, st.data())
def test_whatever_is_in_a_member_is_read_or_refused(sent: tuple[str, dict[str, Any]], data: st.DataObject) -> None:
    kind, document = sent
    at: Any = document
    while True:
        key = data.draw(st.sampled_from(sorted(at) if isinstance(at, dict) else range(len(at))))
        if isinstance(at[key], dict | list) and at[key] and data.draw(st.booleans()):
            at = at[key]
            continue
        at[key] = data.draw(json_values)
        break
    refused = refusal(KINDS[kind], document)
    if refused is not None:
        assert refused.problems
        assert all(problem.reason for problem in refused.problems)
        # Our own words, not pydantic's.
        assert "Input should" not in str(refused)
        assert "Value error" not in str(refused)


def refusal(entity: type[Entity], document: Any) -> InvalidEntity | None:
    try:
        entity.parse(document)
    except InvalidEntity as refused:
        return refused
    return None


def losses(sent: Any, shown: Any, path: str) -> list[str]:
    """Where something was sent that is neither shown nor the same as being absent."""
    if isinstance(sent, dict):
        lost = []
        for key, value in sent.items():
            at = f"{path}.{key}"
            # In an override of it, `false` is not the same as being absent.
            zero_kept = key in KEPT_ZEROS and at != ".extProc.allowOnError"
            kept = zero_kept or (path.endswith(".collect") and key in COLLECTED) or isinstance(value, dict)
            if key in shown:
                lost += losses(value, shown[key], at) if value or kept else []
            elif value is not None and (value or kept) and value != {}:
                lost.append(at)
        return lost
    if isinstance(sent, list):
        pairs = zip(sent, shown, strict=True)
        return [loss for index, (one, other) in enumerate(pairs) for loss in losses(one, other, f"{path}[{index}]")]
    same = sent == shown or (path.startswith(".match.methods") and sent.upper() == shown)
    return [] if same else [path]
