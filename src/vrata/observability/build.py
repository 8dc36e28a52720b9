"""What this installation of Vrata is made of: versions, event loop, and what of the data path runs compiled."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

from vrata import __version__
from vrata.compilation import INTERPRETED
from vrata.wire.http2.session import ENGINE


def facts() -> dict[str, str]:
    """Return them by name, in the words of labels of metrics."""
    try:
        loop = f"uvloop {version('uvloop')}"
    except PackageNotFoundError:
        loop = "asyncio"
    return {
        "version": __version__,
        "python": f"{platform.python_version()} ({platform.python_implementation()}, {platform.machine()})",
        "event_loop": loop,
        "data_path": f"interpreted: {INTERPRETED}" if INTERPRETED else "compiled",
        "http2_engine": ENGINE,
    }


def description() -> str:
    """Return what ``vrata --version`` prints."""
    found = facts()
    lines = [
        f"vrata {found['version']}",
        f"python {found['python']}",
        f"event loop {found['event_loop']}",
        f"data path {found['data_path']}",
        f"HTTP/2 by {found['http2_engine']}",
    ]
    return "\n".join(lines)
