"""Each rule catches what it is for: shown on small trees that break it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.architecture import rules
from tests.architecture.imports import Tree, read_tree, strongly_connected


def plant(tmp_path: Path, files: dict[str, str]) -> Tree:
    """Write *files* (path under ``vrata/`` -> text), complete the packages, and read the tree."""
    root = tmp_path / "vrata"
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        for directory in [path.parent, *path.parent.parents]:
            if not directory.is_relative_to(root):
                break
            init = directory / "__init__.py"
            if not init.exists():
                init.write_text('"""A package."""\n', encoding="utf-8")
    return read_tree(tmp_path, "vrata")


def breaches(rule: rules.Rule, tmp_path: Path, **files: str) -> list[str]:
    """What *rule* says of a tree; keyword ``proxy__plan="..."`` stands for the file ``proxy/plan.py``."""
    return list(rule(plant(tmp_path, {name.replace("__", "/") + ".py": text for name, text in files.items()})))


class TestTiers:
    @pytest.mark.parametrize(
        ("importer", "statement"),
        [
            ("model__route", "from vrata.proxy import plan"),
            ("wire__head", "import vrata.policy.retry"),
            ("policy__retry", "from vrata.controlplane.store import Store"),
            ("proxy__plan", "from vrata.controlplane import store"),
            ("controlplane__store", "import vrata.proxy.plan"),
            ("proxy__plan", "from vrata.app import serve"),
            ("app__serve", "from vrata.cli import main"),
            ("proxy__plan", "def late():\n    from vrata.controlplane import store"),
            ("proxy__plan", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import vrata.controlplane"),
        ],
    )
    def test_an_import_across_tiers_is_a_breach(self, tmp_path: Path, importer: str, statement: str) -> None:
        found = breaches(rules.tier_breaches, tmp_path, **{importer: statement})
        assert len(found) == 1
        assert "may not import" in found[0]

    @pytest.mark.parametrize(
        ("importer", "statement"),
        [
            ("model__route", "from vrata.expressions import compile_expression"),
            ("policy__retry", "from vrata.model import Route"),
            ("proxy__plan", "from vrata.policy import retry"),
            ("controlplane__store", "import vrata.model.route, sqlite3"),
            ("app__serve", "from vrata.proxy import plan\nfrom vrata.controlplane import store"),
            ("cli__main", "from vrata import __version__, app"),
        ],
    )
    def test_an_import_that_the_tiers_allow_is_none(self, tmp_path: Path, importer: str, statement: str) -> None:
        assert breaches(rules.tier_breaches, tmp_path, **{importer: statement}) == []

    def test_a_part_that_has_no_place_is_a_breach(self, tmp_path: Path) -> None:
        assert any("no known part" in breach for breach in breaches(rules.tier_breaches, tmp_path, gadgets__x=""))

    def test_the_root_imports_nothing_of_its_own(self, tmp_path: Path) -> None:
        tree = plant(tmp_path, {"__init__.py": '"""V."""\nfrom vrata.model import Route', "model/route.py": ""})
        assert len(list(rules.tier_breaches(tree))) == 1

    def test_a_relative_import_is_resolved(self, tmp_path: Path) -> None:
        found = breaches(rules.tier_breaches, tmp_path, proxy__plan="from ..controlplane import store")
        assert found == ["vrata.proxy.plan:1: proxy may not import vrata.controlplane"]

    def test_a_cython_module_is_read_too(self, tmp_path: Path) -> None:
        text = "cdef int x = 1\nfrom libc.string cimport memcpy\ndef f():\n    from vrata.proxy import plan\n"
        tree = plant(tmp_path, {"wire/head.pyx": text, "wire/spans.py": ""})
        assert list(rules.tier_breaches(tree)) == ["vrata.wire.head:4: wire may not import vrata.proxy"]


class TestStages:
    @pytest.mark.parametrize(
        ("importer", "statement"),
        [
            ("proxy__routing__table", "from vrata.proxy.upstream import pool"),
            ("proxy__endpoint__pick", "from vrata.proxy.destination.pick import pick"),
            ("proxy__upstream__pool", "from vrata.proxy.compile import compile_plan"),
            ("proxy__action__redirect", "from vrata.proxy.upstream import pool"),
            ("proxy__supervisor", "from vrata.proxy.listener import accept"),
            ("proxy__contracts", "from vrata.proxy.upstream.pool import Pool"),
        ],
    )
    def test_an_import_of_a_stage_is_a_breach(self, tmp_path: Path, importer: str, statement: str) -> None:
        assert len(breaches(rules.stage_breaches, tmp_path, **{importer: statement})) == 1

    @pytest.mark.parametrize(
        ("importer", "statement"),
        [
            ("proxy__routing__table", "from vrata.proxy.contracts import Request"),
            ("proxy__routing__table", "from vrata.proxy.routing import match"),
            ("proxy__action__forward", "from vrata.proxy.upstream import pool\nimport vrata.proxy.endpoint"),
            ("proxy__compile", "from vrata.proxy.routing import table"),
            ("proxy__supervisor", "from vrata.proxy import contracts"),
        ],
    )
    def test_an_import_of_contracts_or_by_an_assembler_is_none(
        self, tmp_path: Path, importer: str, statement: str
    ) -> None:
        files = {importer: statement, "proxy__contracts": ""} if importer != "proxy__contracts" else {}
        assert breaches(rules.stage_breaches, tmp_path, **files) == []


class TestPurity:
    @pytest.mark.parametrize("module", ["policy__retry", "proxy__routing__table", "expressions__cel", "model__route"])
    @pytest.mark.parametrize(
        "statement",
        [
            "import asyncio",
            "from time import monotonic",
            "import random as r",
            "import asyncio.events",
            "import socket",
        ],
    )
    def test_a_clock_chance_or_a_socket_is_a_breach(self, tmp_path: Path, module: str, statement: str) -> None:
        assert len(breaches(rules.purity_breaches, tmp_path, **{module: statement})) == 1

    def test_reaching_one_through_another_package_is_a_breach(self, tmp_path: Path) -> None:
        found = breaches(rules.purity_breaches, tmp_path, policy__retry="from vrata.net import dial")
        assert found == ["vrata.policy.retry:1: a pure package may not import vrata.net, which is not pure"]

    def test_other_packages_may_import_them(self, tmp_path: Path) -> None:
        assert breaches(rules.purity_breaches, tmp_path, proxy__listener__accept="import asyncio, time") == []

    def test_a_name_that_only_begins_alike_is_none(self, tmp_path: Path) -> None:
        assert breaches(rules.purity_breaches, tmp_path, model__route="import timeit, randomize") == []


class TestCycles:
    def test_a_ring_of_three_is_a_breach(self, tmp_path: Path) -> None:
        found = breaches(
            rules.cycle_breaches,
            tmp_path,
            wire__a="import vrata.wire.b",
            wire__b="from vrata.wire import c",
            wire__c="def f():\n    from vrata.wire.a import x",
        )
        assert found == ["import cycle: vrata.wire.a <-> vrata.wire.b <-> vrata.wire.c"]

    def test_a_module_that_imports_from_the_package_that_gathers_it_is_a_breach(self, tmp_path: Path) -> None:
        tree = plant(
            tmp_path,
            {"wire/__init__.py": "from vrata.wire.a import f", "wire/a.py": "from vrata.wire import g"},
        )
        assert list(rules.cycle_breaches(tree)) == ["import cycle: vrata.wire <-> vrata.wire.a"]

    def test_a_diamond_is_none(self, tmp_path: Path) -> None:
        found = breaches(
            rules.cycle_breaches,
            tmp_path,
            wire__a="from vrata.wire import b, c",
            wire__b="from vrata.wire import d",
            wire__c="from vrata.wire import d",
            wire__d="",
        )
        assert found == []

    def test_components_of_a_graph(self) -> None:
        edges = {"a": ["b"], "b": ["c"], "c": ["a", "d"], "d": ["e"], "e": ["d"], "f": ["f"]}
        assert strongly_connected(edges) == [("a", "b", "c"), ("d", "e"), ("f",)]


class TestSizeAndNames:
    def test_a_module_over_the_limit_is_a_breach(self, tmp_path: Path) -> None:
        assert breaches(rules.size_breaches, tmp_path, wire__head="x = 1\n" * 500) == []
        assert len(breaches(rules.size_breaches, tmp_path, wire__head="x = 1\n" * 501)) == 1

    @pytest.mark.parametrize("name", ["wire__utils", "net__helpers__dial", "model___common"])
    def test_a_vague_name_is_a_breach(self, tmp_path: Path, name: str) -> None:
        assert len(breaches(rules.name_breaches, tmp_path, **{name: ""})) == 1

    def test_a_package_without_a_docstring_is_a_breach(self, tmp_path: Path) -> None:
        tree = plant(tmp_path, {"wire/__init__.py": "", "wire/head.py": ""})
        assert [breach.partition(":")[0] for breach in rules.name_breaches(tree)] == ["vrata.wire"]

    def test_a_directory_without_init_is_a_breach(self, tmp_path: Path) -> None:
        plant(tmp_path, {"wire/head.py": ""})
        (tmp_path / "vrata" / "wire" / "__init__.py").unlink()
        found = list(rules.name_breaches(read_tree(tmp_path, "vrata")))
        assert found == ["vrata.wire.head: vrata.wire has no __init__.py"]
