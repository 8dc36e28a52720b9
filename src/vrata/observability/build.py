"""What this installation of Vrata is made of: versions, event loop, and which modules run compiled."""

from __future__ import annotations

import platform
import sys
from importlib import import_module
from importlib.machinery import EXTENSION_SUFFIXES
from importlib.metadata import PackageNotFoundError, version

from vrata import __version__

ACCELERATED = {"vrata.wire.http1.head": "RequestHead"}
"""Modules with a compiled and an interpreted implementation, each with a class that comes from the one in use."""


def is_compiled(module: str) -> bool:
    """Whether *module*, which is imported, is an extension."""
    file = getattr(sys.modules.get(module), "__file__", None) or ""
    return file.endswith(tuple(EXTENSION_SUFFIXES))


def implementation(module: str) -> str:
    """Return how one of the :data:`ACCELERATED` modules runs here: ``compiled`` or ``interpreted``.

    It is imported, because an extension that is there may still not be loadable.
    """
    in_use: type = getattr(import_module(module), ACCELERATED[module])
    return "compiled" if is_compiled(in_use.__module__) else "interpreted"


def description() -> str:
    """Return what ``vrata --version`` prints."""
    try:
        loop = f"uvloop {version('uvloop')}"
    except PackageNotFoundError:
        loop = "asyncio"
    lines = [
        f"vrata {__version__}",
        f"python {platform.python_version()} ({platform.python_implementation()}, {platform.machine()})",
        f"event loop {loop}",
        *(f"{module} {implementation(module)}" for module in ACCELERATED),
    ]
    return "\n".join(lines)
