"""What a processor is told beside what it is shown of a transaction: attributes, and what others have said of it."""

from __future__ import annotations

from vrata.proxy.contracts import ClientRequest
from vrata.proxy.middleware.ext_proc.message import Shown, Structs
from vrata.proxy.middleware.ext_proc.settings import PlaceSettings
from vrata.wire.envoy_metadata import encode_metadata
from vrata.wire.http1.head import ResponseHead

_REQUEST = 1
_RESPONSE = 2


class Asides:
    """Those of one transaction: metadata with every message, attributes with the first of each direction."""

    __slots__ = ("_settings", "_told")

    def __init__(self, settings: PlaceSettings) -> None:
        self._settings = settings
        self._told = 0
        """Directions that attributes have been told of."""

    def __repr__(self) -> str:
        return f"<Asides {self._told}>"

    def add_to(self, shown: Shown, request: ClientRequest, response: ResponseHead | None) -> None:
        """Add them to what is *shown* of *request* and its *response*, as far as that is there."""
        settings = self._settings
        if settings.forwarded_metadata:
            shown.metadata = encode_metadata(request.metadata, settings.forwarded_metadata)
        is_of_request = shown.phase.is_of_request
        direction = _REQUEST if is_of_request else _RESPONSE
        if self._told & direction:
            return
        self._told |= direction
        attributes = settings.request_attributes if is_of_request else settings.response_attributes
        if attributes:
            shown.attributes = attributes.of(request, response)


def keep_metadata(request: ClientRequest, metadata: Structs, settings: PlaceSettings) -> bool:
    """Keep with *request* what a processor says of it, in namespaces that it may use; false: that is too much."""
    for namespace, struct in metadata:
        if namespace in settings.received_metadata and not request.keep_metadata(namespace, struct):
            return False
    return True
