"""The documentation speaks of what is there: links lead somewhere, modules and make targets exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
PAGES = sorted([*REPOSITORY.glob("*.md"), *REPOSITORY.glob("docs/**/*.md")])


def names(pages: list[Path]) -> list[str]:
    return [str(page.relative_to(REPOSITORY)) for page in pages]


@pytest.mark.parametrize("page", PAGES, ids=names(PAGES))
def test_links_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
    missing = [target for target in targets if not (page.parent / target).exists()]
    assert missing == []


@pytest.mark.parametrize("page", PAGES, ids=names(PAGES))
def test_make_targets_exist(page: Path) -> None:
    makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    targets = re.findall(r"^([a-z0-9-]+):", makefile, re.MULTILINE)
    named = re.findall(r"(?:`|^    )make ([a-z0-9-]+)", page.read_text(encoding="utf-8"), re.MULTILINE)
    assert set(named) <= set(targets)


def test_the_modules_of_the_architecture_page_exist() -> None:
    text = (REPOSITORY / "docs" / "architecture.md").read_text(encoding="utf-8")
    paths = [
        path for path in re.findall(r"`([a-z0-9_]+(?:/[a-z0-9_]+)+(?:\.pyx?)?)`", text) if not path.startswith("tests/")
    ]
    assert len(paths) > 20
    missing = [path for path in paths if not (REPOSITORY / "src" / "vrata" / path).exists()]
    assert missing == []


def test_every_decision_has_its_parts_and_is_listed() -> None:
    directory = REPOSITORY / "docs" / "decisions"
    index = (directory / "README.md").read_text(encoding="utf-8")
    for page in directory.glob("0*.md"):
        text = page.read_text(encoding="utf-8")
        assert f"]({page.name})" in index
        for part in ("Date: 20", "Status: ", "## Decision", "## Reasoning", "## Do not"):
            assert part in text, f"{page.name} lacks {part!r}"
