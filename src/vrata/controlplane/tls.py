"""TLS of the API: certificates from the configuration, taken up again when their files change."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass

import structlog

from vrata.config import Pem, ServerTLS
from vrata.net import server_tls, tls_material

CHECK_SECONDS = 10.0

_log = structlog.get_logger("vrata.controlplane")


class TlsMaterialError(Exception):
    """Certificate, key or authorities cannot be used; the text says why."""


@dataclass(frozen=True, slots=True)
class _Material:
    cert: str
    key: str
    ca: str | None


class ServerContext:
    """The ``context`` for a listening socket, whose handshakes always use the newest certificates.

    Raises :class:`TlsMaterialError` if the present ones cannot be used.
    """

    def __init__(self, settings: ServerTLS) -> None:
        self._settings = settings
        self._material = _read(settings)
        self.context = _context(settings, self._material)
        self._current = self.context
        self._complaint = ""
        # Called in every handshake, also if the client names no server. Replacing the whole context is the only way
        # to withdraw an authority: a live context can but learn further ones.
        self.context.sni_callback = self._use_current

    def refresh(self) -> bool:
        """Read the files again; the answer is whether anything changed.

        Raises :class:`TlsMaterialError` and keeps what it has if the new material cannot be used.
        """
        material = _read(self._settings)
        if material == self._material:
            return False
        self._current = _context(self._settings, material)
        self._material = material
        return True

    async def watch(self) -> None:
        """Refresh every :data:`CHECK_SECONDS`, for ever."""
        while True:
            await asyncio.sleep(CHECK_SECONDS)
            self.try_refresh()

    def try_refresh(self) -> None:
        """Refresh and log the outcome; the same complaint only once."""
        try:
            if self.refresh():
                _log.info("certificates reloaded")
            self._complaint = ""
        except TlsMaterialError as error:
            if str(error) != self._complaint:
                self._complaint = str(error)
                _log.error("certificates not reloaded, the old ones stay in use", reason=self._complaint)

    def _use_current(self, connection: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
        connection.context = self._current


def _read(settings: ServerTLS) -> _Material:
    try:
        return _Material(settings.cert.read(), settings.key.read(), None if settings.ca is None else settings.ca.read())
    except OSError as error:
        raise TlsMaterialError(f"controlPlane.tls: {error.filename}: {error.strerror}") from None
    except ValueError:
        raise TlsMaterialError("controlPlane.tls: a file holds no text") from None


def _context(settings: ServerTLS, material: _Material) -> ssl.SSLContext:
    try:
        return server_tls.server_context(
            material.cert, material.key, ca=material.ca or "", client_auth=settings.client_auth
        )
    except tls_material.TlsMaterialError as error:
        places = ", ".join(str(pem.path) for pem in _files(settings))
        raise TlsMaterialError(f"controlPlane.tls: {places or 'cert and key'} cannot be used: {error}") from None


def _files(settings: ServerTLS) -> list[Pem]:
    return [pem for pem in (settings.cert, settings.key, settings.ca) if pem is not None and pem.path is not None]
