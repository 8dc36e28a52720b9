"""Identities of traces and spans: as the Recommendation wants them, and none twice."""

from __future__ import annotations

from random import Random

from vrata.proxy.tracing.identities import Identities


def test_each_is_another_one() -> None:
    identities = Identities(Random(7).getrandbits)
    drawn = [(identities.trace(), identities.span()) for _ in range(1000)]
    traces, spans = zip(*drawn, strict=True)
    assert len(set(traces)) == len(set(spans)) == 1000
    assert {len(trace) for trace in traces} == {32}
    assert {len(span) for span in spans} == {16}
    # All digits come from the chance that was drawn, and none of it is used again.
    text = "".join(trace + span for trace, span in drawn)
    assert set(text) == set("0123456789abcdef")
    assert len({text[at : at + 16] for at in range(0, len(text), 16)}) == 3000


def test_zero_is_none() -> None:
    identities = Identities(lambda bits: 0)
    assert (identities.trace(), identities.span()) == ("0" * 31 + "1", "0" * 15 + "1")
