"""One directory of users' modules: which it has, whether they can be trusted, and how they import each other."""

from __future__ import annotations

import builtins
import os
import re
import stat
import sys
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import structlog

PACKAGE: Final = "vrata_python"
"""What the names of loaded modules begin with, such as ``vrata_python.tenants``; loggers are named after them."""

_FILE_NAME: Final = re.compile(r"([A-Za-z_][A-Za-z0-9_]{0,99})\.py")

_log = structlog.get_logger("vrata.proxy.middleware")


class Unsafe(Exception):  # noqa: N818 - what is found out, and not a failure of ours
    """A file or directory that must not be trusted with code; the text says why."""


class NotLoaded(ImportError):  # noqa: N818 - what is found out, and not a failure of ours
    """A module that another one beside it imports, and that was not loaded; the text says why."""


class ModuleDirectory:
    """The modules that lie directly in one directory. Each is loaded once: when it is asked for, or imported."""

    def __init__(self, path: Path) -> None:
        """Look which modules there are. Raises ``OSError`` and :class:`Unsafe`."""
        _refuse_world_writable(os.stat(path))
        self._path = path
        found = ((_FILE_NAME.fullmatch(entry.name), entry) for entry in sorted(path.iterdir()))
        self.files: Mapping[str, Path] = {match[1]: entry for match, entry in found if match is not None}
        """By name."""
        self.loaded: dict[str, ModuleType] = {}
        """By name; with those that are still being loaded."""
        self.failures: dict[str, str] = {}
        """Why others were not loaded, by name."""

    def __repr__(self) -> str:
        return f"<ModuleDirectory {self._path}>"

    def hide(self, name: str, directory: Path) -> None:
        """The module *name* is not loaded from here, since there is one in *directory*."""
        self.failures[name] = f"it is hidden by the one in {directory}"
        _log.warning("python middleware hidden by one of the same name", path=str(self.files[name]))

    def load(self, name: str) -> ModuleType | None:
        """The module *name*, loaded if it is not; None when it cannot be, which is logged and in :attr:`failures`."""
        if name in self.failures:
            return None
        if name not in self.loaded:
            path = self.files[name]
            try:
                self._run(name, path)
            except (OSError, Unsafe, NotLoaded) as error:
                self._fail(name, reason_of(error))
                _log.error("python middleware not loaded", path=str(path), reason=self.failures[name])
            except BaseException as error:  # noqa: BLE001 - a module that exits or is cancelled must not end the worker
                self._fail(name, f"{type(error).__name__}: {error}")
                _log.exception("python middleware not loaded", path=str(path))
        return self.loaded.get(name)

    def _fail(self, name: str, reason: str) -> None:
        self.failures[name] = reason
        self.loaded.pop(name, None)
        sys.modules.pop(f"{PACKAGE}.{name}", None)

    def _run(self, name: str, path: Path) -> None:
        # Not by the import system: that would read bytecode from beside the file, and write it there.
        code = compile(self._source(path), str(path), "exec", dont_inherit=True)
        module = ModuleType(f"{PACKAGE}.{name}")
        module.__file__ = str(path)
        vars(module)["__builtins__"] = {**vars(builtins), "__import__": self._import}
        # Before it runs: dataclasses and pickle look a class's module up by name, and modules may import each other.
        sys.modules[module.__name__] = self.loaded[name] = module
        exec(code, module.__dict__)

    def _source(self, path: Path) -> bytes:
        # Links are followed before it is judged where a file lies: Kubernetes mounts volumes as links within one.
        real, directory = path.resolve(strict=True), self._path.resolve(strict=True)
        if not real.is_relative_to(directory):
            raise Unsafe("it is a link to a file outside of its directory")
        for between in real.relative_to(directory).parents:
            _refuse_world_writable(os.stat(directory / between))
        # A pipe would keep us waiting for somebody to write.
        with open(os.open(real, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as stream:
            status = os.fstat(stream.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise Unsafe("it is no regular file")
            _refuse_world_writable(status)
            return stream.read()

    def _import(
        self,
        name: str,
        globals: Mapping[str, Any] | None = None,  # noqa: A002 - the names that `__import__` has
        locals: Mapping[str, Any] | None = None,  # noqa: A002
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> ModuleType:
        """What ``import`` does in modules of this directory: it finds those beside them as well.

        Late imports come here, too; by then every module was loaded, or has failed.
        """
        if level or name not in self.files or _is_installed(name):
            return builtins.__import__(name, globals, locals, fromlist or (), level)
        module = self.load(name)
        if module is None:
            raise NotLoaded(f"the module {name} beside it was not loaded: {self.failures[name]}", name=name)
        return module


def _is_installed(name: str) -> bool:
    """Whether there is a module *name* for everybody: no file of a directory hides that."""
    try:
        return find_spec(name) is not None
    except ValueError:  # it is loaded, and nobody has said from where
        return True


def _refuse_world_writable(status: os.stat_result) -> None:
    # Sticky or not: whoever may add a file to a directory chooses what is loaded from it.
    if status.st_mode & stat.S_IWOTH:
        raise Unsafe("everybody may write to it")


def reason_of(error: Exception) -> str:
    """Why something could not be loaded, for people."""
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
