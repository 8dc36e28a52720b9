"""The YAML document of a configuration file."""

from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from vrata.config.errors import ConfigError
from vrata.model.errors import Problem
from vrata.model.report import kind_of


class _StrictLoader(yaml.SafeLoader):
    """The safe loader, but a key that is given twice is an error: YAML demands it, and the first one would be lost."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value != "<<":
                if key.value in seen:
                    problem = f'the key "{key.value}" is given twice'
                    raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
                seen.add(key.value)
        return super().construct_mapping(node, deep)


def read_document(path: Path) -> dict[str, Any]:
    """Read a file that holds one YAML mapping; an empty file is an empty mapping.

    Raises:
        ConfigError: the file cannot be read, or is something else.

    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise ConfigError(str(path), [Problem("", f"cannot be read: {error.strerror}")]) from None
    try:
        document = yaml.load(raw, _StrictLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f"line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        reason = f"is not valid YAML: {error.problem or error.context}"
        raise ConfigError(str(path), [Problem(place, reason)]) from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        # The YAML reader reports bytes that are no text; a constructor, a date such as 2020-99-99.
        raise ConfigError(str(path), [Problem("", f"is not valid YAML: {error}")]) from None
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise ConfigError(str(path), [Problem("", f"must be a mapping of keys, got {kind_of(document)}")])
    return document
