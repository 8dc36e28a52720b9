"""What mypyc does not bear in the modules that it compiles, or takes for something else than Python does.

A build would tell of some of it, but a build takes minutes.
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
SOURCE = REPOSITORY / "src"


def mixed(modules: Mapping[str, ast.Module], hot: Collection[str]) -> Iterator[str]:
    """Name every class whose base is in a module of the other kind; *hot* are the names of those that are compiled."""
    defined = {
        (name, node.name) for name, module in modules.items() for node in module.body if isinstance(node, ast.ClassDef)
    }
    for name, module in modules.items():
        imported = {
            alias.asname or alias.name: (node.module, alias.name)
            for node in ast.walk(module)
            if isinstance(node, ast.ImportFrom) and node.module
            for alias in node.names
        }
        for node in ast.walk(module):
            for base in node.bases if isinstance(node, ast.ClassDef) else ():
                found = base.value if isinstance(base, ast.Subscript) else base
                if not isinstance(found, ast.Name):
                    continue
                origin = imported.get(found.id, (name, found.id))
                if origin in defined and (origin[0] in hot) != (name in hot):
                    yield f"{name}.{node.name} inherits from {'.'.join(origin)}"  # type: ignore[attr-defined]


def test_no_class_inherits_from_one_of_the_other_kind() -> None:
    paths = {".".join(path.relative_to(SOURCE).with_suffix("").parts): path for path in SOURCE.rglob("*.py")}
    modules = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in paths.items()}
    listed = (REPOSITORY / "hot-modules.txt").read_text(encoding="utf-8").split()
    hot = {".".join(Path(path).relative_to("src").with_suffix("").parts) for path in listed}
    assert hot <= modules.keys()
    assert list(mixed(modules, hot)) == []


def test_what_is_mixed_is_found() -> None:
    modules = {
        "a": ast.parse("class A: ..."),
        "b": ast.parse("from a import A as Other\nclass B(Other): ...\nclass C(B): ..."),
        "c": ast.parse("from b import B\nclass D(B[int]): ..."),
    }
    assert list(mixed(modules, {"a"})) == ["b.B inherits from a.A"]
    assert list(mixed(modules, {"b"})) == ["b.B inherits from a.A", "c.D inherits from b.B"]
    assert list(mixed(modules, {"a", "b", "c"})) == []


def reused(module: ast.Module) -> Iterator[str]:
    """Functions in which one name stands for exceptions of different classes.

    mypyc gives it the class of the first one, and raises TypeError where the other one is caught.
    """
    for function in ast.walk(module):
        if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        caught: dict[str, set[str]] = {}
        for node in ast.walk(function):
            if isinstance(node, ast.ExceptHandler) and node.name and node.type is not None:
                caught.setdefault(node.name, set()).add(ast.unparse(node.type))
        yield from (f"{function.name}: {name}" for name, classes in caught.items() if len(classes) > 1)


def test_no_name_stands_for_exceptions_of_different_classes() -> None:
    listed = (REPOSITORY / "hot-modules.txt").read_text(encoding="utf-8").split()
    modules = {path: ast.parse((REPOSITORY / path).read_text(encoding="utf-8")) for path in listed}
    assert [f"{path}: {found}" for path, module in modules.items() for found in reused(module)] == []


def test_a_name_of_two_exceptions_is_found() -> None:
    text = "def f():\n try: ...\n except A as e: ...\n except B as {}: ...\n"
    assert list(reused(ast.parse(text.format("e")))) == ["f: e"]
    assert list(reused(ast.parse(text.format("other")))) == []


def of_any_object(module: ast.Module) -> Iterator[str]:
    """Members of data classes that are annotated with ``object``.

    mypyc looks that name up among the module's own, where it is not, when the class is made. ``Any`` is found.
    """
    for node in ast.walk(module):
        if isinstance(node, ast.ClassDef) and any("dataclass" in ast.unparse(each) for each in node.decorator_list):
            for member in node.body:
                if isinstance(member, ast.AnnAssign) and ast.unparse(member.annotation) == "object":
                    yield f"{node.name}.{ast.unparse(member.target)}"


def test_no_member_of_a_data_class_is_any_object() -> None:
    listed = (REPOSITORY / "hot-modules.txt").read_text(encoding="utf-8").split()
    modules = {path: ast.parse((REPOSITORY / path).read_text(encoding="utf-8")) for path in listed}
    assert [f"{path}: {found}" for path, module in modules.items() for found in of_any_object(module)] == []


def test_a_member_that_is_any_object_is_found() -> None:
    text = "@dataclass(frozen=True)\nclass A:\n a: object = None\n b: Any = None\nclass B:\n a: object = None\n"
    assert list(of_any_object(ast.parse(text))) == ["A.a"]
