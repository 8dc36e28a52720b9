"""What models say of their members: the docstrings below them, which the API's description shows.

Pydantic can read them itself (``use_attribute_docstrings``), but does it while the classes are made, in every process,
and that takes it as long as all the rest.
"""

from __future__ import annotations

import ast
import inspect
import sys
from functools import cache

from pydantic import BaseModel


def member_texts(model: type[BaseModel]) -> dict[str, str]:
    """What *model* and the models it is derived from say of their members, by the JSON names of these."""
    found: dict[str, str] = {}
    for each in reversed(model.__mro__):
        found |= _stated(each.__module__).get(each.__qualname__, {})
    return {field.alias or name: found[name] for name, field in model.model_fields.items() if name in found}


@cache
def _stated(module: str) -> dict[str, dict[str, str]]:
    """The docstrings of members in a module's source, by class; nothing where there is no source."""
    try:
        tree = ast.parse(inspect.getsource(sys.modules[module]))
    except (OSError, TypeError):
        return {}
    return {node.name: _docstrings(node) for node in tree.body if isinstance(node, ast.ClassDef)}


def _docstrings(node: ast.ClassDef) -> dict[str, str]:
    found: dict[str, str] = {}
    for member, text in zip(node.body, node.body[1:], strict=False):
        match member, text:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(said))):
                found[name] = inspect.cleandoc(said)
    return found
