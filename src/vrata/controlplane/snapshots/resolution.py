"""Secret references become the texts they refer to.

``{{secret:value:<id>}}`` is a Secret entity, ``{{secret:env:<name>}}`` an environment variable of the control plane and
``{{secret:file:<path>}}`` a file on its machine. References are replaced in the strings of a decoded document, keys
untouched, in one pass: a secret whose value looks like a reference is not resolved again.
"""

from __future__ import annotations

import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vrata.config import SecretSources

MARK = "{{secret:"
MOST_FILE_BYTES = 1 << 20

# Wider than the references of the model, which have a source and a name: what was meant as a reference and is none,
# such as {{secret:vault}}, must be reported and not reach a proxy as literal text.
_REFERENCE = re.compile(r"\{\{secret:(?P<source>[^:}]*)(?::(?P<name>[^}]*))?\}\}")


class UnresolvedSecretsError(Exception):
    """Some references lead nowhere; the text lists every one of them, one per line."""

    def __init__(self, failures: tuple[str, ...]) -> None:
        lines = "".join(f"\n  {failure}" for failure in failures)
        super().__init__(f"resolving secrets: unresolved secret references:{lines}")
        self.failures = failures


class UnreadableFileError(Exception):
    """A file cannot serve as a secret; the text says why."""


@dataclass(frozen=True, slots=True)
class Sources:
    """Where references may lead.

    *values* holds the Secret entities' values by id; *allowed* says which variables of *environ* and which files may
    be read at all.
    """

    values: Mapping[str, str] = field(repr=False)
    environ: Mapping[str, str] = field(repr=False)
    allowed: SecretSources


class Resolver:
    """Resolves documents one after the other and remembers what could not be resolved."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._known: dict[tuple[str, str], str] = {}
        self._failures: dict[str, None] = {}

    @property
    def failures(self) -> tuple[str, ...]:
        """What went wrong so far, each once, in order of appearance."""
        return tuple(self._failures)

    def resolve(self, value: Any) -> Any:
        """*value* with every reference in its strings replaced; a failing one is left in place and remembered."""
        if isinstance(value, str):
            return _REFERENCE.sub(self._replacement, value) if MARK in value else value
        if isinstance(value, dict):
            return {key: self.resolve(member) for key, member in value.items()}
        if isinstance(value, list):
            return [self.resolve(item) for item in value]
        return value

    def _replacement(self, reference: re.Match[str]) -> str:
        source, name = reference["source"], reference["name"]
        if name is None:
            self._failures[f"{reference[0]}: must name a source and a secret"] = None
            return reference[0]
        if (source, name) not in self._known:
            try:
                self._known[source, name] = self._look_up(source, name)
            except LookupError as error:
                self._failures[str(error.args[0])] = None
                return reference[0]
        return self._known[source, name]

    def _look_up(self, source: str, name: str) -> str:
        match source:
            case "value":
                return self._value(name)
            case "env":
                return self._environment_variable(name)
            case "file":
                return self._file(name)
            case _:
                raise LookupError(f'secret source "{source}" of "{name}" is unknown: must be value, env or file')

    def _value(self, id_: str) -> str:
        value = self._sources.values.get(id_)
        if value is None:
            raise LookupError(f'secret "{id_}": secret "{id_}": resource not found')
        return value

    def _environment_variable(self, name: str) -> str:
        if not self._sources.allowed.allows_variable(name):
            raise LookupError(f'env var "{name}": controlPlane.secrets.allowEnv does not allow it')
        value = self._sources.environ.get(name, "")
        if not value:
            raise LookupError(f'env var "{name}" is not set')
        return value

    def _file(self, path: str) -> str:
        try:
            return read_secret_file(path, self._sources.allowed)
        except UnreadableFileError as error:
            raise LookupError(f'file "{path}": {error}') from None


def read_secret_file(path: str, allowed: SecretSources) -> str:
    """The whole text of the file, a trailing newline included. Raises :class:`UnreadableFileError`.

    Symbolic links are followed before it is decided whether the file is allowed. Only a regular file of at most 1 MiB
    is read: a device or pipe could go on without end.
    """
    try:
        file = Path(path).resolve()
        # Decided before anything else is said of the file: whether it exists is nobody's business otherwise.
        if not allowed.allows_file(file):
            raise UnreadableFileError("controlPlane.secrets.allowFile does not allow it")
        if not stat.S_ISREG(file.stat().st_mode):
            raise UnreadableFileError("not a regular file")
        with file.open("rb") as stream:
            content = stream.read(MOST_FILE_BYTES + 1)
    except OSError as error:
        raise UnreadableFileError(error.strerror or str(error)) from None
    except (ValueError, RuntimeError):
        raise UnreadableFileError("not a path, or a loop of links") from None
    if len(content) > MOST_FILE_BYTES:
        raise UnreadableFileError(f"larger than {MOST_FILE_BYTES} bytes")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        raise UnreadableFileError("not UTF-8 text") from None
