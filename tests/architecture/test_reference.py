"""The reference of all fields is what the models say."""

from __future__ import annotations

import re
from typing import Annotated, Literal

import pytest
from pydantic import AfterValidator

from tools.reference.kinds_of_value import UnknownKind, kind_of_value
from tools.reference.pages import DIRECTORY, pages
from tools.reference.tables import sections_of, table_of
from vrata.model.duration import PositiveDuration
from vrata.model.middleware import Override
from vrata.model.number import U32
from vrata.model.part import ListOf, Part


def test_the_pages_are_what_the_models_say() -> None:
    made = {page.name: page.read_text(encoding="utf-8") for page in DIRECTORY.glob("*.md")}
    assert made == pages(), "make docs-reference writes them anew"


@pytest.mark.parametrize("name", sorted(pages()))
def test_links_within_a_page_lead_to_its_headings(name: str) -> None:
    text = pages()[name]
    headings = [re.sub(r"[^\w -]", "", title.lower()) for title in re.findall(r"^## (.*)$", text, re.MULTILINE)]
    assert len(set(headings)) == len(headings)
    assert set(re.findall(r"\]\(#([^)]*)\)", text)) <= set(headings)


class Inner(Part):
    """What is inside."""

    limit: PositiveDuration = PositiveDuration("1s")
    """A limit | of time."""


class Outer(Part):
    """What is outside."""

    mode: Literal["on", "off"]
    """The mode."""
    share: U32 = 3
    """A share."""
    inner: Inner = Inner()
    """One."""
    more_of_it: ListOf[Inner] = ()
    """More."""
    overrides: dict[str, Override] = {}  # noqa: RUF012 - parts are frozen
    """Changes."""


def test_a_table() -> None:
    sections = sections_of(Outer)
    assert [(section.part, section.paths) for section in sections] == [
        (Outer, [""]),
        (Inner, ["inner", "moreOfIt[]"]),
    ]
    assert [list(table_of(section, sections))[2:] for section in sections] == [
        [
            "| `mode` | `on`, `off` | required | The mode. |",
            "| `share` | integer, 0 to 2^32-1 | `3` | A share. |",
            "| `inner` | [object](#inner) | its defaults | One. |",
            "| `moreOfIt` | list of: [object](#inner) |  | More. |",
            "| `overrides` | map, of: [object](overrides.md) |  | Changes. |",
        ],
        ["| `limit` | duration, more than 0 | `1s` | A limit \\| of time. |"],
    ]


class Demanding(Part):
    """A part with a demand that nobody has put into words."""

    text: Annotated[str, AfterValidator(str.strip)] = ""
    """Some text."""


def test_a_demand_without_words_is_noticed() -> None:
    with pytest.raises(UnknownKind, match="no word for"):
        kind_of_value(Demanding.model_fields["text"])
