"""What the proxy's log has of services that middlewares ask and that fail."""

from __future__ import annotations

import structlog

from vrata.observability.occasions import Occasions

_log = structlog.get_logger("vrata.proxy.middleware")


class FailureLog:
    """Tells of the failures of one middleware, not of each: with a service that is down all its requests fail."""

    def __init__(self, event: str) -> None:
        self._event = event
        self._occasions = Occasions()

    def __repr__(self) -> str:
        return f"<FailureLog {self._event}>"

    def tell(self, middleware: str, **context: str) -> None:
        """It has failed in *middleware*; *context* says more."""
        passed_over = self._occasions.occurred()
        if passed_over > 0:
            _log.warning(self._event, middleware=middleware, **context, passed_over=passed_over)
        elif not passed_over:
            _log.warning(self._event, middleware=middleware, **context)
