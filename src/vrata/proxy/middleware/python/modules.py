"""The modules of the directories that the proxy's configuration allows, loaded once in the life of a worker.

Whoever may write entities can name any class here, and no code beside it: only files that lie directly in an allowed
directory are loaded, each under a private name, and installed packages are not among them.
"""

from __future__ import annotations

import os
import re
import stat
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType

import structlog

from vrata.middleware import Middleware
from vrata.proxy.middleware.python.logs import forward_logs

PACKAGE = "vrata_python"
"""What the names of loaded modules begin with, such as ``vrata_python.tenants``; loggers are named after them."""

_FILE_NAME = re.compile(r"([A-Za-z_][A-Za-z0-9_]{0,99})\.py")

_log = structlog.get_logger("vrata.proxy.middleware")


class ClassUnavailable(ValueError):  # noqa: N818 - what is found out, and not a failure of ours
    """A class that cannot be had; the text says why."""


class PythonModules:
    """What was loaded, and why the rest was not."""

    def __init__(self, loaded: Mapping[str, ModuleType], failures: Mapping[str, str], has_directories: bool) -> None:
        """*loaded* and *failures* (the reasons) are by the modules' names as entities say them."""
        self._loaded = loaded
        self._failures = failures
        self._has_directories = has_directories

    def __repr__(self) -> str:
        return f"<PythonModules {', '.join(self._loaded)}>"

    def find(self, name: str) -> type[Middleware]:
        """The class called *name*, ``module:Class``. Raises :class:`ClassUnavailable`."""
        module_name, _, class_name = name.partition(":")
        module = self._loaded.get(module_name)
        if module is None:
            raise ClassUnavailable(self._reason(module_name))
        found = vars(module).get(class_name)
        if found is None:
            raise ClassUnavailable(f"the module {module_name} has no class {class_name}")
        if not (isinstance(found, type) and issubclass(found, Middleware)):
            raise ClassUnavailable(f"{name} is no subclass of vrata.middleware.Middleware")
        return found

    def _reason(self, name: str) -> str:
        if name in self._failures:
            return f"the module {name} was not loaded: {self._failures[name]}"
        if not self._has_directories:
            return "the proxy's configuration allows no modules: proxy.pythonMiddlewares.path is empty"
        return f"there was no module {name} in proxy.pythonMiddlewares.path when the worker started"


NO_MODULES = PythonModules({}, {}, has_directories=False)
"""Where nothing is allowed."""


def load_modules(directories: Sequence[Path]) -> PythonModules:
    """Load every module in *directories*; where two have one of the same name, the first directory counts.

    A module that cannot be loaded is logged, with a traceback where its code failed, and is a reason from then on.
    """
    loaded: dict[str, ModuleType] = {}
    failures: dict[str, str] = {}
    forward_logs(PACKAGE)
    for directory in directories:
        try:
            files = _files(directory)
        except (OSError, _Unsafe) as error:
            _log.error("python middlewares not loaded", directory=str(directory), reason=_text(error))
            continue
        for name, path in files:
            if name in loaded or name in failures:
                _log.warning("python middleware hidden by one of the same name", path=str(path))
                continue
            try:
                loaded[name] = _load(name, path, directory)
            except (OSError, _Unsafe) as error:
                failures[name] = _text(error)
                _log.error("python middleware not loaded", path=str(path), reason=failures[name])
            except BaseException as error:  # noqa: BLE001 - a module that exits or is cancelled must not end the worker
                failures[name] = f"{type(error).__name__}: {error}"
                _log.exception("python middleware not loaded", path=str(path))
    return PythonModules(loaded, failures, has_directories=bool(directories))


class _Unsafe(Exception):  # noqa: N818 - what is found out, and not a failure of ours
    """A file or directory that must not be trusted with code; the text says why."""


def _files(directory: Path) -> list[tuple[str, Path]]:
    """The modules of *directory*, by name."""
    _refuse_world_writable(os.stat(directory))
    found = ((_FILE_NAME.fullmatch(entry.name), entry) for entry in sorted(directory.iterdir()))
    return [(match[1], entry) for match, entry in found if match is not None]


def _load(name: str, path: Path, directory: Path) -> ModuleType:
    # Links are followed before it is judged where a file lies: Kubernetes mounts volumes as links within a directory.
    real = path.resolve(strict=True)
    if not real.is_relative_to(directory.resolve(strict=True)):
        raise _Unsafe("it is a link to a file outside of its directory")
    # A pipe would keep us waiting for somebody to write.
    with open(os.open(real, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as stream:
        status = os.fstat(stream.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise _Unsafe("it is no regular file")
        _refuse_world_writable(status)
        source = stream.read()
    # Not by the import system: that would read bytecode from beside the file, and write it there.
    code = compile(source, str(path), "exec", dont_inherit=True)
    module = ModuleType(f"{PACKAGE}.{name}")
    module.__file__ = str(path)
    # Dataclasses and pickle look a class's module up by its name.
    sys.modules[module.__name__] = module
    try:
        exec(code, module.__dict__)
    except BaseException:
        del sys.modules[module.__name__]
        raise
    return module


def _refuse_world_writable(status: os.stat_result) -> None:
    # Sticky or not: whoever may add a file to a directory chooses what is loaded from it.
    if status.st_mode & stat.S_IWOTH:
        raise _Unsafe("everybody may write to it")


def _text(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
