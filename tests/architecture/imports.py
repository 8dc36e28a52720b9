"""What the modules of a source tree import, read from their sources: nothing is executed.

The nouns: a :class:`Tree` holds :class:`Module` values by dotted name; each module lists the :class:`Import`
statements found anywhere in it, inside functions and ``TYPE_CHECKING`` blocks too, because an import that is only
hidden is still a dependency. Cython modules, which Python's parser cannot read, are searched for import lines.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

_CYTHON_IMPORT = re.compile(r"\s*(from\s+[\w.]+\s+c?import\s+[\w., ]+|import\s+[\w., ]+)$")


@dataclass(frozen=True, slots=True)
class Import:
    """One imported module: its dotted name, and the line of the statement."""

    target: str
    line: int


@dataclass(frozen=True, slots=True)
class Module:
    """One source file."""

    name: str
    path: Path
    is_package: bool
    lines: int
    docstring: str | None
    imports: tuple[Import, ...]


@dataclass(frozen=True, slots=True)
class Tree:
    """Every module under one top-level package."""

    root: str
    modules: Mapping[str, Module]

    def internal_imports(self, module: Module) -> Iterator[Import]:
        """The imports of *module* that stay inside the tree."""
        for found in module.imports:
            if within(found.target, self.root):
                yield found

    def external_imports(self, module: Module) -> Iterator[Import]:
        """The imports of *module* that leave the tree: the standard library and dependencies."""
        for found in module.imports:
            if not within(found.target, self.root):
                yield found

    def cycles(self) -> list[tuple[str, ...]]:
        """Groups of modules that import each other, directly or through others; each group sorted.

        That importing ``a.b`` also runs ``a/__init__.py`` is not counted: a package may gather what its modules
        define, as long as those modules do not import from the package itself.
        """
        edges = {
            name: sorted({found.target for found in self.internal_imports(module)} & self.modules.keys() - {name})
            for name, module in self.modules.items()
        }
        return [group for group in strongly_connected(edges) if len(group) > 1]


def within(name: str, package: str) -> bool:
    """Whether the dotted *name* is *package* or lies in it."""
    return name == package or name.startswith(package + ".")


def read_tree(source: Path, root: str) -> Tree:
    """Read the package *root* that lies in the directory *source*."""
    found = [path for pattern in ("*.py", "*.pyx") for path in (source / root).rglob(pattern)]
    files = {_dotted(path, source): path for path in sorted(found)}
    return Tree(root, {name: _read_module(name, path, files.keys()) for name, path in files.items()})


def _dotted(path: Path, source: Path) -> str:
    parts = list(path.relative_to(source).with_suffix("").parts)
    if parts[-1] == "__init__":
        parts.pop()
    return ".".join(parts)


def _read_module(name: str, path: Path, known: Collection[str]) -> Module:
    text = path.read_text(encoding="utf-8")
    is_package = path.name == "__init__.py"
    syntax = _syntax_of(text, path)
    found = [
        Import(target, node.lineno)
        for node in ast.walk(syntax)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for target in _targets(node, name if is_package else name.rpartition(".")[0], known)
    ]
    return Module(name, path, is_package, len(text.splitlines()), ast.get_docstring(syntax), tuple(found))


def _syntax_of(text: str, path: Path) -> ast.Module:
    if path.suffix == ".py":
        return ast.parse(text, filename=str(path))
    # Everything but import lines is blanked, so that their numbers stay. "cimport" names C declarations: of interest
    # only where it leads to another module of the tree, and then an import all the same.
    lines = [
        line.strip().replace(" cimport ", " import ") if _CYTHON_IMPORT.match(line) else ""
        for line in text.splitlines()
    ]
    return ast.parse("\n".join(lines), filename=str(path))


def _targets(node: ast.Import | ast.ImportFrom, package: str, known: Collection[str]) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
        return
    base = node.module or ""
    if node.level:
        anchor = package.split(".")
        anchor = anchor[: len(anchor) - node.level + 1]
        base = ".".join([*anchor, base] if base else anchor)
    for alias in node.names:
        # `from a import b` names the module a.b when there is one, else something defined in a.
        submodule = f"{base}.{alias.name}"
        yield submodule if submodule in known else base


def strongly_connected(edges: Mapping[str, list[str]]) -> list[tuple[str, ...]]:
    """The strongly connected components of a graph (Tarjan), without recursion; each sorted, in sorted order."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    on_stack: set[str] = set()
    stack: list[str] = []
    found: list[tuple[str, ...]] = []
    for start in edges:
        if start in index:
            continue
        work = [(start, iter(edges[start]))]
        index[start] = low[start] = len(index)
        stack.append(start)
        on_stack.add(start)
        while work:
            node, successors = work[-1]
            for successor in successors:
                if successor not in index:
                    index[successor] = low[successor] = len(index)
                    stack.append(successor)
                    on_stack.add(successor)
                    work.append((successor, iter(edges[successor])))
                    break
                if successor in on_stack:
                    low[node] = min(low[node], index[successor])
            else:
                work.pop()
                if work:
                    parent = work[-1][0]
                    low[parent] = min(low[parent], low[node])
                if low[node] == index[node]:
                    group = []
                    while True:
                        member = stack.pop()
                        on_stack.discard(member)
                        group.append(member)
                        if member == node:
                            break
                    found.append(tuple(sorted(group)))
    return sorted(found)
