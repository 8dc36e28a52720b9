"""The families that are shown are those that the guide names."""

from __future__ import annotations

import re
from pathlib import Path

from tests.unit.proxy.metrics.counting import EVERYTHING, KEY, A, Worker, listener, scope, shown
from vrata.proxy.metrics.families import FAMILIES
from vrata.proxy.metrics.totals import Totals

PAGE = Path(__file__).resolve().parents[4] / "docs" / "guide" / "metrics.md"
ROW = re.compile(r"^\| (\w+) \| `(\w+)` \| (\w+) \| (.+) \|$", re.MULTILINE)


def test_the_guide_has_the_table() -> None:
    documented = [
        (name, kind, tuple(re.findall(r"`(\w+)`", labels)))
        for _, name, kind, labels in ROW.findall(PAGE.read_text(encoding="utf-8"))
    ]
    assert documented == [(family.name, family.kind, family.labels) for family in FAMILIES]


def test_each_is_shown_when_there_is_something_to_show() -> None:
    tls = {"cert": "/cert.pem", "key": "/key.pem"}
    secure = listener().model_copy(update={"tls": type(listener()).parse({"name": "x", "port": 1, "tls": tls}).tls})
    wanted = scope(secure)
    totals, worker = Totals(), Worker(wanted)
    totals.adopt(wanted)
    worker.request(to="d", retries=1)
    worker.meters[KEY].failed("timeout")
    mirrored = worker.meters[KEY].mirrored(A, "d")
    assert mirrored is not None
    mirrored.sent += 1
    mirrored.skip("incomplete")
    totals.add(worker, worker.hand_over())
    heads = re.findall(r"^# TYPE (\w+) (\w+)$", shown(totals).text, re.MULTILINE)
    assert heads == [(family.name, family.kind) for family in FAMILIES]
    dimensions = [dimension for dimension, *_ in ROW.findall(PAGE.read_text(encoding="utf-8"))]
    assert set(dimensions) == set(EVERYTHING)
