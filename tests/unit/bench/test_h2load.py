"""What h2load prints, to figures."""

from __future__ import annotations

import pytest

from bench.comparison import h2load
from bench.comparison.goals import Goal
from bench.comparison.measurement import Load
from bench.comparison.workload import Site, Workload
from bench.http2.workloads import GOALS, WORKLOADS

OUTPUT = """starting benchmark...
Application protocol: h2c

finished in 3.00s, 88169.67 req/s, 24.89MB/s
requests: 4 total, 4 started, 4 done, {succeeded} succeeded, {failed} failed, 1 errored, 2 timeout
status codes: {successes} 2xx, 0 3xx, 0 4xx, 0 5xx
traffic: 74.67MB (78294833) total, 28.00MB (29360610) headers (space savings 39.34%), 33.55MB (35179697) data
"""
LOG = "1796047413480776\t200\t1551\n1796047413480778\t200\t2500\n1796047413480779\t200\t1579\n1\t200\t1600\n"


def test_the_summary_and_the_log_are_read() -> None:
    output = OUTPUT.format(succeeded=4, failed=3, successes=5)
    assert h2load.parse(output, LOG) == Load(requests=4, failed=6, seconds=3.0, p50_ms=1.6, p99_ms=2.5)


def test_answers_other_than_2xx_have_failed() -> None:
    assert h2load.parse(OUTPUT.format(succeeded=4, failed=0, successes=1), LOG).failed == 6


def test_without_a_summary_the_output_is_in_the_error() -> None:
    with pytest.raises(RuntimeError, match="Could not resolve"):
        h2load.parse("Could not resolve host", "")


def test_a_message_of_grpc_has_its_length_before_it() -> None:
    call = Workload("call", "", site=Site(grpc=True), body_bytes=3, answer_bytes=300)
    assert call.content == b"\0\0\0\0\x03xxx"
    assert call.answer[:5] == b"\0\0\0\x01\x2c"
    assert len(call.answer) == 305


def test_the_table_of_http2_is_one_of_http2() -> None:
    assert len({workload.name for workload in WORKLOADS}) == len(WORKLOADS)
    assert all(workload.site.http2 and workload.streams > 1 for workload in WORKLOADS)
    assert 0 < sum(workload.quick for workload in WORKLOADS) < len(WORKLOADS)


def test_every_workload_has_both_goals() -> None:
    for workload in WORKLOADS:
        assert {Goal(workload.name, "cpu_us", limit, "envoy") for limit in (1.0, 0.5)} <= set(GOALS)
