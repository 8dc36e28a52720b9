"""The fields of parts as tables in Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from inspect import cleandoc
from typing import Any

from pydantic.fields import FieldInfo

from tools.reference.kinds_of_value import kind_of_value, part_in
from vrata.controlplane.api.member_texts import member_texts
from vrata.model.middleware import Override
from vrata.model.part import Part

OVERRIDES = "overrides.md"
"""The page of :class:`Override`, which entities of two kinds have."""


@dataclass
class Section:
    """One class of objects on a page, and the paths of the members that hold such objects."""

    part: type[Part]
    paths: list[str] = field(default_factory=list)

    @property
    def title(self) -> str:
        """The heading: the first path."""
        return f"`{self.paths[0]}`"

    @property
    def anchor(self) -> str:
        """What links to the heading end with, as GitHub makes it."""
        return "#" + re.sub(r"[^\w -]", "", self.title.lower()).replace(" ", "-")


def sections_of(part: type[Part], path: str = "") -> list[Section]:
    """*part*, at *path*, and the parts below it, each once and in the order of its first mention."""
    found: dict[type[Part], Section] = {}
    _collect(part, path, found)
    return list(found.values())


def _collect(part: type[Part], path: str, found: dict[type[Part], Section]) -> None:
    known = part in found
    section = found.setdefault(part, Section(part))
    section.paths.append(path)
    if known:
        return
    for name, member in part.model_fields.items():
        below = part_in(member.annotation)
        if below is None or below is Override:
            continue
        is_list = kind_of_value(member).startswith("list of")
        _collect(below, f"{path}.{member.alias or name}{'[]' if is_list else ''}".lstrip("."), found)


def table_of(section: Section, sections: list[Section]) -> Iterator[str]:
    """The lines of the table of *section*, which links to the other *sections* of its page."""
    yield "| Field | Type | Default | Meaning |"
    yield "|---|---|---|---|"
    anchors = {other.part: other.anchor for other in sections} | {Override: OVERRIDES}
    texts = member_texts(section.part)
    for name, member in section.part.model_fields.items():
        alias = member.alias or name
        kind = kind_of_value(member)
        below = part_in(member.annotation)
        if below is not None:
            kind = kind.replace("object", f"[object]({anchors[below]})")
        cells = (f"`{alias}`", kind, _default(member), texts[alias])
        yield f"| {' | '.join(' '.join(cell.split()).replace('|', chr(92) + '|') for cell in cells)} |"


def said_of(part: type[Part]) -> str:
    """What *part* says of itself, on one line."""
    return " ".join(cleandoc(part.__doc__ or "").split())


def _default(member: FieldInfo) -> str:
    if member.is_required():
        return "required"
    value: Any = member.get_default(call_default_factory=True)
    match value:
        case None | "" | () | {}:
            return ""
        case Part():
            return "its defaults"
        case bool():
            return f"`{str(value).lower()}`"
        case tuple():
            return ", ".join(_scalar(each) for each in value)
    return _scalar(value)


def _scalar(value: Any) -> str:
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"
