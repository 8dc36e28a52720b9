"""What the log has of services that fail all the time."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from vrata.observability import occasions
from vrata.proxy.middleware.failure_log import FailureLog


def test_failures_are_told_now_and_then_with_how_many_there_were(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(occasions, "perf_counter", lambda: now)
    log, other = FailureLog("no authorization"), FailureLog("external processor failed")
    with capture_logs() as entries:
        for _ in range(3):
            log.tell("guard", reason="unreachable", detail="refused")
        other.tell("processing", reason="died")
        now += occasions.QUIET
        log.tell("guard", reason="timeout", detail="")
        now += occasions.QUIET
        log.tell("guard", reason="unreachable", detail="refused")
    told = {"event": "no authorization", "log_level": "warning", "middleware": "guard"}
    assert entries == [
        told | {"reason": "unreachable", "detail": "refused"},
        {"event": "external processor failed", "log_level": "warning", "middleware": "processing", "reason": "died"},
        told | {"reason": "timeout", "detail": "", "passed_over": 2},
        told | {"reason": "unreachable", "detail": "refused"},
    ]
