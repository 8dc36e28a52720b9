"""From counts and processor time to figures."""

from __future__ import annotations

import pytest

from bench.comparison import wrk
from bench.comparison.measurement import Load, Measurement, measure, medians
from bench.comparison.usage import ProcessorTime


def test_figures_are_per_request() -> None:
    load = Load(requests=50_000, failed=0, seconds=2.0, p50_ms=1.5, p99_ms=9.0)
    found = measure(load, ProcessorTime(0.25, 0.75))
    assert found.cpu_us == pytest.approx(20.0)
    assert found.user_us == pytest.approx(5.0)
    assert found.sys_us == pytest.approx(15.0)
    assert (found.rps, found.p50_ms, found.p99_ms) == (25_000.0, 1.5, 9.0)


def test_nothing_answered_is_no_measurement() -> None:
    with pytest.raises(ValueError, match="no request was answered"):
        measure(Load(requests=0, failed=0, seconds=1, p50_ms=0, p99_ms=0), ProcessorTime(1, 1))


def test_each_figure_has_its_own_median() -> None:
    found = medians(
        [Measurement(10, 1, 9, 100, 1, 5), Measurement(20, 5, 15, 80, 3, 4), Measurement(90, 3, 87, 90, 2, 9)]
    )
    assert found == Measurement(20, 3, 15, 90, 2, 5)


def test_the_summary_of_wrk_is_read() -> None:
    output = """Running 1s test @ http://127.0.0.1:1/
  2 requests in 1.00s
COUNTED requests=12345 microseconds=1000500 connect=0 read=1 write=0 status=2 timeout=4 p50=850 p99=12500
"""
    assert wrk.parse(output) == Load(requests=12345, failed=7, seconds=1.0005, p50_ms=0.85, p99_ms=12.5)


def test_without_a_summary_the_output_is_in_the_error() -> None:
    with pytest.raises(RuntimeError, match="unable to connect"):
        wrk.parse("unable to connect to 127.0.0.1:1 Connection refused")
