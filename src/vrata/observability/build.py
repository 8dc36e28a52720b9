"""What this installation of Vrata is made of: versions, event loop, and which modules are compiled."""

from __future__ import annotations

import platform
from importlib.machinery import EXTENSION_SUFFIXES
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

from vrata import __version__

ACCELERATED = (
    "vrata.wire.http1.head",
    "vrata.wire.http1.body",
    "vrata.wire.http1.fields",
    "vrata.proxy.routing.table",
    "vrata.proxy.listener.connection",
    "vrata.proxy.upstream.connection",
)
"""Modules on the path of every request, which are meant to run compiled where a C compiler was at hand."""


def is_compiled(module: str) -> bool:
    """Whether *module* is a compiled extension; it is looked up, not imported. False if there is none."""
    try:
        spec = find_spec(module)
    except ModuleNotFoundError:
        return False
    return spec is not None and spec.origin is not None and spec.origin.endswith(tuple(EXTENSION_SUFFIXES))


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
        *(f"{module} {'compiled' if is_compiled(module) else 'interpreted'}" for module in ACCELERATED),
    ]
    return "\n".join(lines)
