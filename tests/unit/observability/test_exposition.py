"""Metrics as text, read back by the parsers of the reference implementation."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.exposition import Scraped
from vrata.observability.exposition import Exemplar, Family, escaped, lines, wants_openmetrics
from vrata.observability.metrics import Histogram

REQUESTS = Family("requests_total", "counter", ("route", "code"), 'Requests, by \\ "route"\nand status.')
RUNNING = Family("running", "gauge", (), "Running.")
SECONDS = Family("seconds", "histogram", ("route",), "Seconds.")
BUILD = Family("build_info", "info", ("version",), "Of what it is made.")


def observed(*values: float) -> Histogram:
    histogram = Histogram((0.1, 1.0))
    for value in values:
        histogram.observe(value)
    return histogram


def text(*, openmetrics: bool) -> str:
    families = [
        (REQUESTS, iter([REQUESTS.sample(("a", "200"), 3), REQUESTS.sample(('q"\\\n', "404"), 1)])),
        (RUNNING, iter([RUNNING.sample((), 2.5)])),
        (Family("empty", "gauge", (), "Nothing."), iter([])),
        (SECONDS, iter([SECONDS.histogram(("a",), observed(0.05, 0.1, 0.5, 3.0))])),
        (BUILD, iter([BUILD.sample(("1",), 1)])),
    ]
    return "".join(lines(families, openmetrics=openmetrics))


@pytest.mark.parametrize("openmetrics", [False, True])
def test_a_parser_reads_what_was_written(openmetrics: bool) -> None:
    scraped = Scraped(text(openmetrics=openmetrics), openmetrics=openmetrics)
    assert scraped("requests_total", route="a", code="200") == 3
    assert scraped("requests_total", route='q"\\\n', code="404") == 1
    assert scraped("running") == 2.5
    assert [scraped("seconds_bucket", route="a", le=limit) for limit in ("0.1", "1.0", "+Inf")] == [2, 3, 4]
    assert scraped("seconds_count", route="a") == 4
    assert scraped("seconds_sum", route="a") == pytest.approx(3.65)
    assert [(family.name, family.type) for family in scraped.families] == [
        ("requests", "counter"),
        ("running", "gauge"),
        ("seconds", "histogram"),
        ("build", "info") if openmetrics else ("build_info", "gauge"),
    ]
    assert scraped("build_info", version="1") == 1
    assert scraped.families[0].documentation == REQUESTS.help


def test_the_two_formats_differ_in_names_of_counters_and_in_the_end() -> None:
    plain, openmetrics = text(openmetrics=False), text(openmetrics=True)
    assert "# TYPE requests_total counter\n" in plain
    heads = plain.replace(" requests_total ", " requests ").replace(" build_info gauge", " build info")
    assert openmetrics == heads.replace("HELP build_info ", "HELP build ") + "# EOF\n"


def test_exemplars_belong_to_their_buckets() -> None:
    trace_id = "4bf92f3577b34da6a3ce929d0e0e4736"
    exemplars = {0: Exemplar(trace_id, 0.05, 1700000000.1234), 2: Exemplar("0" * 32, 3.0, 1.0)}
    samples = SECONDS.histogram(("a",), observed(0.05, 3.0), exemplars)
    scraped = Scraped("".join(lines([(SECONDS, iter([samples]))], openmetrics=True)), openmetrics=True)
    assert scraped.exemplars("seconds") == {
        "0.1": (trace_id, 0.05, 1700000000.123),
        "+Inf": ("0" * 32, 3.0, 1.0),
    }


def test_a_family_without_samples_is_left_out() -> None:
    assert "empty" not in text(openmetrics=False)


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_any_label_value_survives(value: str) -> None:
    family = Family("x", "gauge", ("label",), "X.")
    line = family.sample((value,), 1)
    assert line == f'x{{label="{escaped(value)}"}} 1\n'
    assert line.count("\n") == 1
    assert Scraped(family.head(openmetrics=False) + line).values("label") == {value}


@pytest.mark.parametrize(
    ("accept", "openmetrics"),
    [
        ("", False),
        ("*/*", False),
        ("text/plain", False),
        ("text/plain;version=0.0.4", False),
        ("application/openmetrics-text", True),
        ("Application/OpenMetrics-Text; version=1.0.0; charset=utf-8", True),
        # What Prometheus sends.
        ("application/openmetrics-text;version=1.0.0;q=0.6,text/plain;version=0.0.4;q=0.5,*/*;q=0.2", True),
        ("text/plain;version=0.0.4;q=0.6,application/openmetrics-text;version=1.0.0;q=0.5", False),
        ("text/plain, application/openmetrics-text", True),
        ('application/openmetrics-text; version="1.0.0"', True),
        ("application/openmetrics-text;version=0.0.1,text/plain;q=0.5", True),
        ("application/openmetrics-text; version=2.0.0", False),
        ("application/openmetrics-text; version=2.0.0, application/openmetrics-text; version=1.0.0;q=0.8", True),
        ("text/plain;q=0.9, application/openmetrics-text;version=2.0.0, application/openmetrics-text;q=0.8", False),
        ("application/openmetrics-text;q=0", False),
        ("application/openmetrics-text;q=much", False),
        ("application/openmetrics-text;q=2", False),
        (",;,;q=1", False),
    ],
)
def test_the_format_follows_the_accept_field(accept: str, openmetrics: bool) -> None:
    assert wants_openmetrics(accept) is openmetrics
