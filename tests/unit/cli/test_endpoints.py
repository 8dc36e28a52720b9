"""``vrata endpoints``: what it prints; the answers of a real control plane are in the end-to-end tests."""

from __future__ import annotations

from typing import Any

import pytest
from typer.testing import CliRunner

from tests.support.endpoint_document import endpoint_document as endpoint
from tests.support.ports import free_port
from vrata.cli.application import application
from vrata.cli.endpoint_table import show

Document = dict[str, Any]


def proxy(*endpoints: Document, **members: Any) -> Document:
    return {
        "proxyId": "p1",
        "connected": True,
        "lastSeen": "2026-01-01T00:00:10Z",
        "acknowledgedAt": "2026-01-01T00:00:07Z",
        "activeSnapshot": {"id": "s", "name": "third"},
        "state": "served",
        "panic": {"active": False, "reason": ""},
        "circuitBreaker": None,
        "discovery": {"stale": False, "reason": ""},
        "omittedEndpoints": 0,
        "endpoints": list(endpoints),
    } | members


def shown(capsys: pytest.CaptureFixture[str], *proxies: Document) -> list[str]:
    show({"id": "d", "proxies": list(proxies)})
    return capsys.readouterr().out.splitlines()


def test_lines_are_aligned_and_whole_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    reason = "status 503 " * 30
    lines = shown(
        capsys,
        proxy(
            endpoint("10.0.0.1:8080", activeRequests=12, connections=15),
            endpoint(
                "10.0.0.200:8080",
                {"state": "unhealthy", "since": "2026-01-01T00:00:00Z", "reason": reason},
                available=False,
            ),
        ),
    )
    assert lines[0] == "p1: snapshot third, as of 2026-01-01T00:00:07Z"
    header, one, two = lines[1:]
    column = header.index("HEALTH")
    assert one[column:].startswith("unchecked")
    assert one.split() == ["10.0.0.1:8080", "1", "static", "yes", "unchecked", "-", "12", "15"]
    assert two[column:].startswith(f"unhealthy since 2026-01-01T00:00:00Z: {reason}")


def test_what_stands_against_a_destination_is_said_before_its_endpoints(capsys: pytest.CaptureFixture[str]) -> None:
    limits = {
        name: {"used": number, "limit": 9}
        for number, name in enumerate(("connections", "pending", "requests", "retries"))
    }
    breaker = {"state": "open", "since": "2026-01-01T00:00:00Z", "consecutiveFailures": 5, "limits": limits}
    lines = shown(
        capsys,
        proxy(
            panic={"active": True, "reason": "0 of 0"},
            circuitBreaker=breaker,
            discovery={"stale": True, "reason": "no answer"},
            omittedEndpoints=3,
        ),
    )
    assert lines[1:] == [
        "  panic: 0 of 0",
        "  discovery is stale: no answer",
        "  circuit breaker open since 2026-01-01T00:00:00Z, 5 failures in a row; connections 0/9; pending 1/9; "
        "requests 2/9; retries 3/9",
        "  no endpoints",
        "  and 3 more that are not shown",
    ]


def test_ejections_are_told_with_their_reasons(capsys: pytest.CaptureFixture[str]) -> None:
    now = {"ejected": True, "until": "2026-01-01T00:01:00Z", "ejections": 2, "reason": "5 in a row"}
    text = "\n".join(
        shown(
            capsys,
            proxy(
                endpoint("a:1", outlier=now),
                endpoint("b:1", outlier={"ejections": 1}),
                endpoint("c:1", outlier={"heldBackReason": "1 of 3 may be"}),
            ),
        )
    )
    assert "ejected until 2026-01-01T00:01:00Z (2 times): 5 in a row" in text
    assert "ejected before (once)" in text
    assert "held back: 1 of 3 may be" in text


def test_proxies_that_are_away_or_do_not_have_it_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    away = proxy(connected=False, acknowledgedAt=None, activeSnapshot=None)
    lines = shown(capsys, proxy(state="absent", panic=None, discovery=None), away)
    assert lines[:2] == [
        "p1: snapshot third, as of 2026-01-01T00:00:07Z",
        "  the snapshot that it serves with does not have the destination",
    ]
    assert lines[3] == "p1: not connected since 2026-01-01T00:00:10Z, no snapshot"
    assert shown(capsys) == ["no proxy is known"]


def test_a_terminal_gets_a_table_and_no_command_of_its_own(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "200")
    text = "\n".join(shown(capsys, proxy(endpoint("10.0.0.1:80", {"reason": "\x1b]0;owned\x07 [bold]"}))))
    assert "─" in text
    assert "\x1b]0;" not in text
    assert r"\x1b]0;owned\x07 [bold]" in text


def test_without_a_control_plane_it_says_so() -> None:
    address = f"http://127.0.0.1:{free_port()}"
    result = CliRunner().invoke(application, ["endpoints", "d", "--api", address])
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith(f"vrata: cannot ask the control plane at {address}: ")


def test_an_id_that_is_not_utf_8_is_refused() -> None:
    result = CliRunner().invoke(application, ["endpoints", b"d\xff".decode(errors="surrogateescape")])
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr == "vrata: DESTINATION must be UTF-8\n"
