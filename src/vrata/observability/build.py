"""What this installation of Vrata is made of: versions, event loop, and what of the data path runs compiled."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

from vrata import __version__
from vrata.compilation import INTERPRETED
from vrata.wire.http2.session import ENGINE


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
        f"data path interpreted: {INTERPRETED}" if INTERPRETED else "data path compiled",
        f"HTTP/2 by {ENGINE}",
    ]
    return "\n".join(lines)
