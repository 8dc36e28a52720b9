"""What the simulation of a slow endpoint has to show, whatever the machine."""

from __future__ import annotations

from bench.balancing import slow_one


def test_load_and_latency_keep_requests_from_a_slow_endpoint() -> None:
    heading, *rows = slow_one()
    found = {(row[0], row[1]): dict(zip(heading[2:], row[2:], strict=True)) for row in rows}
    for slower in ("3 times slower", "10 times slower"):
        share = {algorithm: float(found[slower, algorithm]["its share"]) for _, algorithm in found}
        p99 = {algorithm: float(found[slower, algorithm]["p99, ms"].replace(",", "")) for _, algorithm in found}
        assert share["PEAK_EWMA"] < share["LEAST_REQUEST"] < share["ROUND_ROBIN"]
        assert p99["PEAK_EWMA"] < p99["LEAST_REQUEST"] < p99["ROUND_ROBIN"]
