"""The pages of the reference: one for each kind of entity, one for overrides, and an index."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from tools.reference.tables import OVERRIDES, Section, said_of, sections_of, table_of
from vrata.model import KINDS
from vrata.model.middleware import Override
from vrata.model.part import Part

DIRECTORY: Final = Path(__file__).resolve().parents[2] / "docs" / "reference"

_GUIDE: Final[Mapping[str, tuple[tuple[str, str], ...]]] = {
    "listener": (("listeners", "listeners"), ("metrics", "metrics"), ("tracing", "tracing")),
    "destination": (
        ("balancing", "balancing"),
        ("circuit breakers and limits", "protection"),
        ("health", "health"),
        ("names", "names"),
        ("TLS to upstreams", "upstream-tls"),
        ("gRPC", "grpc"),
    ),
    "route": (("REST API tour", "rest-api"), ("expressions", "expressions"), ("balancing", "balancing")),
    "group": (("REST API tour", "rest-api"),),
    "middleware": (("middlewares", "middlewares/README"),),
    "secret": (("REST API tour", "rest-api"),),
}
"""Titles and names of the guide's pages that say what to do with an entity."""

_MADE: Final = "<!-- Made by `make docs-reference` from the models; not to be edited. -->"

_READING: Final = """\
Every field of every entity: its JSON name, type, default and meaning, as the API reads it. The same is in the OpenAPI
document (`/api/v1/docs/doc.json`) of a running control plane. How fields work together, and what else is demanded of
them, is on the pages of the [guide](../guide/README.md).

- A field that is `null` counts as absent, and so does an optional one with the zero of its type (`0`, `""`, `false`,
  `[]`), unless its meaning says what a stated 0 or `false` does, or its default is `true`. `0s` is never absent.
  Without a default in the table, absent is a state of its own.
- Fields that a table does not have are refused.
- A duration is written as `300ms`, `1m30s`, `1.5h` or `0` (units `ns us µs ms s m h`).
- A regular expression has the [syntax of RE2](https://github.com/google/re2/wiki/Syntax), within
  [limits](../decisions/0023-limits-of-patterns.md); CEL is [explained in the guide](../guide/expressions.md).
- A path begins with `/`. A token is of letters, digits and ``!#$%&'*+-.^_`|~``.
- Texts may hold [references to secrets](../guide/rest-api.md#secrets).
"""


def pages() -> dict[str, str]:
    """The text of each page by its file's name."""
    found = {f"{kind}.md": _text(_entity_page(kind)) for kind in KINDS}
    found[OVERRIDES] = _text(_override_page())
    found["README.md"] = _text(_index())
    return found


def _text(lines: Iterator[str]) -> str:
    return "\n".join(lines).rstrip("\n") + "\n"


def _index() -> Iterator[str]:
    yield _MADE
    yield ""
    yield "# Reference of all fields"
    yield ""
    yield _READING
    yield "| Page | |"
    yield "|---|---|"
    for kind, entity in KINDS.items():
        yield f"| [{kind}]({kind}.md) | {said_of(entity)} |"
    yield f"| [overrides]({OVERRIDES}) | {said_of(Override)} |"


def _entity_page(kind: str) -> Iterator[str]:
    entity = KINDS[kind]
    yield _MADE
    yield ""
    yield f"# {kind.capitalize()}"
    yield ""
    links = ", ".join(f"[{title}](../guide/{name}.md)" for title, name in _GUIDE[kind])
    yield f"{said_of(entity)} `/api/v1/{entity.collection}`. [How to read this](README.md). Guide: {links}."
    yield from _tables(entity)


def _override_page() -> Iterator[str]:
    yield _MADE
    yield ""
    yield "# Overrides"
    yield ""
    yield (
        f"{said_of(Override)} In `middlewareOverrides.<id>` of a [route](route.md) or a [group](group.md). "
        "[How to read this](README.md)."
    )
    yield from _tables(Override)


def _tables(part: type[Part]) -> Iterator[str]:
    sections = sections_of(part)
    for section in sections:
        yield ""
        if section.part is not part:
            yield from _heading(section)
        yield from table_of(section, sections)


def _heading(section: Section) -> Iterator[str]:
    yield f"## {section.title}"
    yield ""
    others = ", ".join(f"`{path}`" for path in section.paths[1:])
    yield said_of(section.part) + (f" Also {others}." if others else "")
    yield ""
