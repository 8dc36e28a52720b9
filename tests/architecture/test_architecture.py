"""The source tree keeps its shape (tiers, stages, purity, no cycles, small modules)."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.architecture import rules
from tests.architecture.imports import Tree, read_tree

SOURCE = Path(__file__).resolve().parents[2] / "src"


@pytest.fixture(scope="module")
def tree() -> Tree:
    return read_tree(SOURCE, rules.ROOT)


def test_the_tree_was_found(tree: Tree) -> None:
    # Guards the other tests against passing because they looked at nothing.
    assert len(tree.modules) > 20
    assert f"{rules.ROOT}.observability.tasks" in tree.modules


@pytest.mark.parametrize(
    "rule",
    [
        rules.tier_breaches,
        rules.stage_breaches,
        rules.purity_breaches,
        rules.cycle_breaches,
        rules.size_breaches,
        rules.name_breaches,
    ],
)
def test_the_tree_keeps_the_rule(tree: Tree, rule: rules.Rule) -> None:
    breaches = list(rule(tree))
    assert not breaches, "\n".join(breaches)
