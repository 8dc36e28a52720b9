from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
import structlog

from vrata.observability import logging


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    yield
    structlog.contextvars.clear_contextvars()
    structlog.reset_defaults()


def test_json_lines_carry_the_context(capsys: pytest.CaptureFixture[str]) -> None:
    logging.configure("json", "info", worker=3)
    structlog.get_logger("vrata.test").info("something happened", count=1)
    line = json.loads(capsys.readouterr().out)
    assert (line["event"], line["level"], line["worker"], line["count"]) == ("something happened", "info", 3, 1)


def test_lines_below_the_level_are_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    logging.configure("console", "warn")
    structlog.get_logger("vrata.test").info("too quiet")
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("format", ["console", "json"])
def test_a_traceback_shows_no_values(format: str, capsys: pytest.CaptureFixture[str]) -> None:  # noqa: A002
    logging.configure(format, "info")
    secret = "hunter" + "2"
    try:
        raise RuntimeError("broken")
    except RuntimeError:
        structlog.get_logger("vrata.test").exception("failed")
    shown = capsys.readouterr().out
    assert "RuntimeError: broken" in shown
    assert secret not in shown


def test_control_characters_from_outside_are_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    logging.configure("console", "info")
    structlog.get_logger("vrata.test").info("named", name="a\x1b[2J\nfake line")
    shown = capsys.readouterr().out
    assert "\x1b[2J" not in shown
    assert shown.count("\n") == 1
