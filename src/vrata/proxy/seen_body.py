"""What expressions see of a request's body."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vrata.expressions.json_object import json_object


class SeenBody:
    """What expressions see of one request's body."""

    __slots__ = ("_decoded", "_json", "_whole", "content")

    def __init__(self, content: bytes, whole: bool) -> None:
        """*content* is its beginning, or all of it if *whole*."""
        self.content = content
        self._whole = whole
        self._decoded = False
        self._json: Mapping[str, Any] | None = None

    def json(self, content_type: str | None) -> Mapping[str, Any] | None:
        """The JSON object in a whole body that says by its *content_type* to be JSON; None when there is none."""
        if not self._decoded:
            self._decoded = True
            if self._whole and content_type is not None and content_type.lower().startswith("application/json"):
                self._json = json_object(self.content)
        return self._json
