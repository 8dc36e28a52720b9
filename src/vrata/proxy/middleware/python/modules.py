"""The modules of the directories that the proxy's configuration allows, loaded once in the life of a worker.

Whoever may write entities can name any class here, and no code beside it: only files that lie directly in an allowed
directory are loaded, each under a private name, and installed packages are not among them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType

import structlog

from vrata.middleware import Middleware
from vrata.proxy.middleware.python.directory import PACKAGE, ModuleDirectory, Unsafe, reason_of
from vrata.proxy.middleware.python.logs import forward_logs

MOST_TOLD = 1000
"""Failures of classes that one worker logs with their tracebacks: a text may be another one each time."""

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
        self._told: set[str] = set()

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

    def is_news(self, text: str) -> bool:
        """Whether *text*, a failure of a class, was not told yet in the life of this worker; it is from now on."""
        if text in self._told or len(self._told) >= MOST_TOLD:
            return False
        self._told.add(text)
        return True

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
    owners: dict[str, Path] = {}
    forward_logs(PACKAGE)
    for path in directories:
        try:
            directory = ModuleDirectory(path)
        except (OSError, Unsafe) as error:
            _log.error("python middlewares not loaded", directory=str(path), reason=reason_of(error))
            continue
        for name in directory.files:
            if name in owners:
                directory.hide(name, owners[name])
            else:
                owners[name] = path
        for name in directory.files:
            if owners[name] is path:
                directory.load(name)
        loaded |= directory.loaded
        failures |= {name: reason for name, reason in directory.failures.items() if owners[name] is path}
    return PythonModules(loaded, failures, has_directories=bool(directories))
