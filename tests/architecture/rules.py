"""The shape of Vrata's source tree as tables, and the checks that hold the tree to them.

No rule yields anything for a tree that keeps it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from tests.architecture.imports import Module, Tree, within

ROOT = "vrata"

Rule = Callable[[Tree], Iterator[str]]
"""A check: takes the tree, yields one sentence per breach."""

TIER_0 = frozenset({"compilation", "model", "config", "expressions", "wire", "net", "observability", "middleware"})
"""Know nothing of the two planes."""

TIER_1 = frozenset({"policy"})
"""Decisions as pure functions."""

TIER_2 = frozenset({"proxy", "controlplane", "discovery", "controller", "console"})
"""The planes. They meet only in ``app``."""

MAY_IMPORT: dict[str, frozenset[str]] = {
    "": frozenset({"compilation"}),
    **dict.fromkeys(TIER_0, TIER_0),
    **dict.fromkeys(TIER_1, TIER_0 | TIER_1),
    **{package: TIER_0 | TIER_1 | {package} for package in TIER_2},
    "app": TIER_0 | TIER_1 | TIER_2 | {"app"},
    "cli": TIER_0 | TIER_1 | TIER_2 | {"app", "cli"},
    "__main__": frozenset({"cli"}),
}
"""For each part directly under the root: the parts whose modules it may import. The root's own ``__init__`` holds
the version, imports only what settles which modules run compiled, and may be imported by all."""

PROXY = f"{ROOT}.proxy"

STAGES = frozenset({"listener", "routing", "middleware", "destination", "endpoint", "upstream", "action"})
"""The packages of ``proxy`` that a request passes, in its order."""

STAGES_MAY_IMPORT = frozenset(
    {
        "body_gate",
        "callout",
        "contracts",
        "holding",
        "meters",
        "observers",
        "relayed_request",
        "seen_body",
        "sessions",
        "standing",
        "tracing",
    }
)
"""What a stage may import of ``proxy`` beside itself: what they know of each other, what counts and traces for all of
them, what holds requests back or stands for them, what keeps sessions, and what calls other services."""

ASSEMBLERS = frozenset(
    {
        "action.forward",
        "action.mirror",
        "action.session_search",
        "callout",
        "compile",
        "destinations",
        "middlewares",
        "plan",
        "dataplane",
        "explain",
        "selectors",
        "worker",
        "runtime.registry",
    }
)
"""The modules and packages of ``proxy`` that put stages together, and so may import any of them. The registry is among
them because it owns the stages' state from one plan to the next."""

PURE = (
    f"{ROOT}.policy",
    f"{ROOT}.proxy.routing",
    f"{ROOT}.expressions",
    f"{ROOT}.model",
    f"{ROOT}.net.cached_name",
    f"{ROOT}.wire.http1.fields",
)
"""Packages, and modules, whose functions depend on their arguments alone: time and chance are passed in."""

PURE_MAY_IMPORT = (*PURE, f"{ROOT}.proxy.contracts")
"""What of Vrata a pure package may import: pure packages, else it would reach a clock or a socket through others."""

IMPURE = frozenset(
    {
        "asyncio",
        "concurrent",
        "http.client",
        "http.server",
        "httpx",
        "multiprocessing",
        "random",
        "secrets",
        "select",
        "selectors",
        "socket",
        "sqlite3",
        "ssl",
        "subprocess",
        "threading",
        "time",
        "urllib.request",
        "uvloop",
    }
)
"""Clocks, chance and I/O: what a pure package does not import."""

MAX_LINES = 500

VAGUE_NAMES = frozenset({"common", "helper", "helpers", "misc", "shared", "util", "utils"})
"""Names that say nothing of what a module holds."""


def tier_breaches(tree: Tree) -> Iterator[str]:
    """Parts that import what their tier may not know, and parts that the table does not list."""
    for module in tree.modules.values():
        part = _part(module.name)
        if part and part not in MAY_IMPORT:
            yield f"{module.name}: {part!r} is no known part of {ROOT}; give it a place in MAY_IMPORT"
            continue
        allowed = MAY_IMPORT.get(part, frozenset())
        for found in tree.internal_imports(module):
            target = _part(found.target)
            if target and target not in allowed:
                yield f"{module.name}:{found.line}: {part or ROOT} may not import {found.target}"


def stage_breaches(tree: Tree) -> Iterator[str]:
    """Stages of the proxy that import each other, and modules beside the assemblers that import stages."""
    for module in tree.modules.values():
        if not within(module.name, PROXY) or module.name == PROXY:
            continue
        inside = module.name.removeprefix(PROXY + ".")
        if any(within(inside, assembler) for assembler in ASSEMBLERS):
            continue
        stage = inside.partition(".")[0]
        own = stage if stage in STAGES else None
        for found in tree.internal_imports(module):
            if not within(found.target, PROXY):
                continue
            target = found.target.removeprefix(PROXY).lstrip(".").partition(".")[0]
            if own is None:
                if target in STAGES:
                    yield f"{module.name}:{found.line}: only {_listed(ASSEMBLERS)} may import the stage {target}"
            elif target != own and target not in STAGES_MAY_IMPORT:
                yield f"{module.name}:{found.line}: the stage {own} may not import {found.target}"


def purity_breaches(tree: Tree) -> Iterator[str]:
    """Pure packages that reach a clock, chance or I/O."""
    for module in tree.modules.values():
        if not any(within(module.name, package) for package in PURE):
            continue
        for found in tree.external_imports(module):
            if any(within(found.target, impure) for impure in IMPURE):
                yield f"{module.name}:{found.line}: a pure package may not import {found.target}"
        for found in tree.internal_imports(module):
            if found.target != ROOT and not any(within(found.target, pure) for pure in PURE_MAY_IMPORT):
                yield f"{module.name}:{found.line}: a pure package may not import {found.target}, which is not pure"


def cycle_breaches(tree: Tree) -> Iterator[str]:
    """Modules that import each other in a ring."""
    for group in tree.cycles():
        yield f"import cycle: {' <-> '.join(group)}"


def size_breaches(tree: Tree) -> Iterator[str]:
    """Modules too long to be one noun."""
    for module in tree.modules.values():
        if module.lines > MAX_LINES:
            yield f"{module.name}: {module.lines} lines; a module over {MAX_LINES} holds more than one noun"


def name_breaches(tree: Tree) -> Iterator[str]:
    """Vague module names, packages without a docstring, and directories of modules without ``__init__.py``."""
    for module in tree.modules.values():
        if module.name.rpartition(".")[2].lstrip("_") in VAGUE_NAMES:
            yield f"{module.name}: name the module after what it holds"
        if module.is_package and not module.docstring:
            yield f"{module.name}: a package opens with a docstring that names its nouns"
        parent = module.name.rpartition(".")[0]
        if parent and not _is_package(tree.modules.get(parent)):
            yield f"{module.name}: {parent} has no __init__.py"


def _part(name: str) -> str:
    """The part directly under the root that the dotted *name* lies in; empty for the root itself."""
    return name.removeprefix(ROOT).lstrip(".").partition(".")[0]


def _is_package(module: Module | None) -> bool:
    return module is not None and module.is_package


def _listed(names: frozenset[str]) -> str:
    return ", ".join(sorted(names))
