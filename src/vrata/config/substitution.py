"""Variables of the environment in the texts of a configuration document.

`${NAME}` is the variable's value, `${NAME:-default}` the default where the variable is unset or empty, and `$$` a
dollar sign. Every other `$` stays. Substitution acts on parsed texts, never on keys: a value can therefore hold
anything without changing the meaning of the YAML around it. A text that becomes empty counts as not given.
"""

import re
from collections.abc import Mapping
from typing import Any

from vrata.model.errors import Problem
from vrata.model.report import path_of

_MARK = re.compile(r"\$\$|\$\{(?P<body>[^{}]*)\}|\$\{")
_BODY = re.compile(r"(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>.*))?", re.DOTALL)


class _MalformedError(Exception):
    pass


def substitute(document: Any, environ: Mapping[str, str]) -> tuple[Any, tuple[Problem, ...]]:
    """Return a copy of the document with the variables' values, and the texts that no variable can be read from."""
    problems: list[Problem] = []

    def walk(value: Any, location: tuple[int | str, ...]) -> Any:
        if isinstance(value, dict):
            return {key: walk(item, (*location, str(key))) for key, item in value.items()}
        if isinstance(value, list):
            return [walk(item, (*location, index)) for index, item in enumerate(value)]
        if isinstance(value, str) and "$" in value:
            try:
                return expand(value, environ) or None
            except _MalformedError as error:
                problems.append(Problem(path_of(location), str(error)))
        return value

    return walk(document, ()), tuple(problems)


def expand(text: str, environ: Mapping[str, str]) -> str:
    """Substitute in one text."""

    def value_of(mark: re.Match[str]) -> str:
        if mark[0] == "$$":
            return "$"
        body = _BODY.fullmatch(mark["body"] or "")
        if body is None:
            raise _MalformedError('has a "${" that begins neither ${NAME} nor ${NAME:-default}; write "$${" for text')
        return environ.get(body["name"]) or (body["default"] or "").replace("$$", "$")

    return _MARK.sub(value_of, text)
