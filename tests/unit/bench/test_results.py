"""Medians, ratios, the document, and how they are shown."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from bench.comparison import plot, table
from bench.comparison.goals import Goal
from bench.comparison.measurement import FIGURES, Measurement
from bench.comparison.results import Results, Run
from bench.comparison.workload import Site, Workload

GET = Workload("get", "GET <128 B>")
TLS = Workload("tls", "GET over TLS", site=Site(tls=True))
PROXIES = ("vrata", "nginx", "caddy")


def measured(cpu: float, user: float = 5.0, rps: float = 1000.0) -> Measurement:
    return Measurement(cpu_us=cpu, user_us=user, sys_us=cpu - user, rps=rps, p50_ms=1.0, p99_ms=2.0)


@pytest.fixture
def results() -> Results:
    """Two proxies; Vrata lacks one workload, and a third proxy is not there at all."""
    found = Results(Run("2026-01-02T03:04:05+00:00", "a machine", 3, 1, {"vrata": "1", "nginx": "2"}))
    # A noisy machine: what one costs varies fourfold, what it costs beside the other does not.
    for number, (ours, theirs) in enumerate([(10.0, 20.0), (40.0, 80.0), (20.0, 40.0)]):
        found.add("get", number, "nginx", measured(theirs))
        found.add("get", number, "vrata", measured(ours))
        found.add("tls", number, "nginx", measured(30.0))
    return found


def test_a_ratio_is_the_median_of_the_ratios_within_the_rounds() -> None:
    found = Results(Run("", "", 3, 1, {"vrata": "", "nginx": ""}))
    for number, (ours, theirs) in enumerate([(10.0, 20.0), (100.0, 400.0), (60.0, 30.0)]):
        found.add("get", number, "vrata", measured(ours))
        found.add("get", number, "nginx", measured(theirs))
    # Of the medians it would be 60 / 30.
    assert found.ratio("cpu_us", "get", "vrata", peer="nginx") == 0.5


def test_a_proxy_can_be_compared_with_itself_in_another_workload(results: Results) -> None:
    assert results.ratio("cpu_us", "tls", "nginx", baseline="get") == 30.0 / 40.0
    assert results.ratio("cpu_us", "tls", "vrata", baseline="get") is None


def test_rounds_in_which_one_side_is_missing_do_not_count(results: Results) -> None:
    results.add("get", 4, "vrata", measured(1000.0))
    assert results.ratio("cpu_us", "get", "vrata", peer="nginx") == 0.5
    assert len(results.rounds["get"]) == 5


def test_what_was_not_measured_has_neither_median_nor_ratio(results: Results) -> None:
    assert results.median("tls", "vrata") is None
    assert results.ratio("cpu_us", "tls", "vrata", peer="nginx") is None
    assert results.ratio("cpu_us", "nothing", "vrata", peer="nginx") is None
    assert results.ratio("cpu_us", "get", "vrata", peer="caddy") is None


def test_a_figure_of_zero_gives_no_ratio() -> None:
    found = Results(Run("", "", 1, 1, {"vrata": "", "nginx": ""}))
    found.add("get", 0, "vrata", measured(10.0))
    found.add("get", 0, "nginx", measured(10.0, user=0.0))
    assert found.ratio("user_us", "get", "vrata", peer="nginx") is None


def test_the_document_has_the_medians_of_what_was_measured(results: Results, tmp_path: Path) -> None:
    results.idle_kib["get"] = {"vrata": 1.234}
    results.write(tmp_path / "new" / "latest.json")
    document = json.loads((tmp_path / "new" / "latest.json").read_text())
    assert document["workloads"].keys() == {"get", "tls"}
    assert document["workloads"]["get"].keys() == {"vrata", "nginx"}
    assert document["workloads"]["tls"].keys() == {"nginx"}
    assert document["workloads"]["get"]["nginx"].keys() == set(FIGURES)
    assert document["workloads"]["get"]["nginx"]["cpu_us"] == 40.0
    assert document["workloads"]["get"]["vrata"]["idle_connection_kib"] == 1.23
    same = {"p50_ms": 1.0, "p99_ms": 1.0}
    assert document["ratios"] == {
        "get": {"nginx": {"cpu_us": 0.5, "user_us": 1.0, "sys_us": 0.4286, "rps": 1.0, **same}}
    }
    assert document["run"]["versions"] == {"vrata": "1", "nginx": "2"}


def test_the_table_shows_a_dash_for_what_was_not_measured(results: Results) -> None:
    results.note("vrata skipped in tls: no TLS yet")
    results.note("vrata skipped in tls: no TLS yet")
    results.failures.append("get, nginx, round 2: 3 requests failed")
    lines = table.render(results, [GET, TLS], PROXIES).splitlines()
    get, tls = lines.index("get: GET <128 B>"), lines.index("tls: GET over TLS")
    assert lines[get + 2].split()[:3] == ["vrata", "20.0", "5.0"]
    assert lines[get + 3].split()[-6:] == ["0.50", "x", "1.00", "x", "1.00", "x"]
    assert set(lines[get + 4].split()) == {"caddy", "-"}
    assert set(lines[tls + 2].split()) == {"vrata", "-"}
    assert lines.count("note: vrata skipped in tls: no TLS yet") == 1
    assert lines[-1] == "FAILED: get, nginx, round 2: 3 requests failed"


def test_what_runs_beside_the_data_path_is_noted(results: Results) -> None:
    results.control["vrata"] = [0.01, 0.03, 0.02]
    assert "of one core: vrata 2.0 %" in table.render(results, [GET], PROXIES)
    assert results.document()["control_cpu_share"] == {"vrata": 0.02}


@pytest.mark.parametrize(
    ("goal", "ratio"),
    [
        (Goal("get", "cpu_us", 0.6, "nginx"), 0.5),
        (Goal("get", "user_us", 0.6, "nginx"), 1.0),
        (Goal("tls", "cpu_us", 1.3, "nginx"), None),
        (Goal("get", "cpu_us", 1.1, baseline="get"), 1.0),
        (Goal("tls", "cpu_us", 1.1, baseline="get"), None),
    ],
)
def test_goals_are_compared_with_what_was_measured(results: Results, goal: Goal, ratio: float | None) -> None:
    assert goal.ratio(results) == ratio


def test_the_plot_is_well_formed_and_has_a_panel_per_measured_workload(results: Results) -> None:
    picture = plot.render(results, [GET, TLS, Workload("other", "not measured")], PROXIES)
    root = ElementTree.fromstring(picture)
    texts = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert "GET <128 B>" in texts
    assert "GET over TLS" in texts
    assert "not measured" not in texts
    assert "20.0 (5.0 user)" in texts
    assert texts.count("-") == 3


def test_without_results_there_is_still_a_plot() -> None:
    ElementTree.fromstring(plot.render(Results(Run("", "", 1, 1, {"nginx": ""})), [GET], PROXIES))


def test_without_proxies_there_is_still_a_document() -> None:
    assert Results(Run("", "", 1, 1, {})).document()["ratios"] == {}
