"""What users' modules log with the standard library goes where everything else goes."""

from __future__ import annotations

import logging
from typing import Final

import structlog

_LEVELS: Final = (
    (logging.CRITICAL, "critical"),
    (logging.ERROR, "error"),
    (logging.WARNING, "warning"),
    (logging.INFO, "info"),
)

_log = structlog.get_logger("vrata.proxy.middleware")


def forward_logs(name: str) -> None:
    """Write what is logged with ``logging.getLogger(name)``, and with loggers below it, to the log of the proxy."""
    logger = logging.getLogger(name)
    if any(isinstance(handler, _Forwarding) for handler in logger.handlers):
        return
    logger.addHandler(_Forwarding())
    logger.propagate = False
    # What nobody wants to see is dropped before it becomes a record.
    logger.setLevel(_log.get_effective_level() or logging.DEBUG)


class _Forwarding(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        """Write *record*."""
        try:
            method = next((name for level, name in _LEVELS if record.levelno >= level), "debug")
            context = {"exc_info": record.exc_info} if record.exc_info else {}
            getattr(_log, method)(record.getMessage(), logger=record.name, **context)
        except Exception:  # noqa: BLE001 - as every handler does it
            self.handleError(record)
