"""The table of match cases: what the rules of routing say, row by row, with the answer written by hand."""

from __future__ import annotations

from tests.support.match_cases import composition, paths, priority, requests
from tests.support.match_cases.section import NONE, Case, cases

__all__ = ["ALL", "NONE", "Case"]

ALL = cases([*paths.SECTIONS, *requests.SECTIONS, *composition.SECTIONS, *priority.SECTIONS])
