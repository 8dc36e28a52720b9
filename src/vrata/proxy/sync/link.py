"""The link to the control plane: its address, and what this proxy shows of itself."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import quote

import httpx

from vrata import __version__

CONNECT_TIMEOUT = 10.0
"""Seconds."""


@dataclass(frozen=True, slots=True)
class ControlPlaneLink:
    """How to reach the control plane."""

    url: str
    """Base URL, without a trailing slash."""
    proxy_id: str
    api_key: str | None = None
    tls: Callable[[], ssl.SSLContext] | None = None
    """Makes the TLS context of a new client, so that renewed certificates are read again; None for plain http."""

    @property
    def stream_url(self) -> str:
        """Where the active snapshot is streamed from."""
        return f"{self.url}/api/v1/sync/snapshot"

    @property
    def acknowledgement_url(self) -> str:
        """Where this proxy's status is put."""
        return f"{self.url}/api/v1/sync/proxies/{quote(self.proxy_id, safe='')}"

    def client(self, read_timeout: float) -> httpx.AsyncClient:
        """Return a client that waits at most *read_timeout* seconds for the next bytes.

        Raises ``OSError`` (``ssl.SSLError`` too) if the TLS material cannot be read.
        """
        headers = {"User-Agent": f"vrata/{__version__}", "X-Vrata-Proxy": self.proxy_id}
        if self.api_key is not None:
            headers["Authorization"] = f"Bearer {self.api_key}"
        return httpx.AsyncClient(
            headers=headers,
            timeout=httpx.Timeout(read_timeout, connect=CONNECT_TIMEOUT),
            # Not verified is only what has no TLS at all, to spare the client loading the authorities of the world.
            verify=self.tls() if self.tls is not None else not self.url.startswith("http://"),
            # Proxies and .netrc of the environment are not meant for us; the latter would replace our key.
            trust_env=False,
        )
