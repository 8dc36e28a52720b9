"""Headers: adding, replacing and removing headers of requests and responses."""

from typing import ClassVar

from vrata.model.part import ListOf, Part
from vrata.model.text import HeaderName, HeaderValue


class HeaderEdit(Part):
    """A header that is added or replaced."""

    always_shown: ClassVar[frozenset[str]] = frozenset({"value"})

    key: HeaderName
    """Name of the header."""
    value: HeaderValue = ""
    """The value; may have placeholders such as `${request.host}`."""
    append: bool = True
    """Add a value beside those that are there; `false` replaces them."""


class Headers(Part):
    """Settings of a `headers` middleware. Removals come after additions."""

    request_headers_to_add: ListOf[HeaderEdit] = ()
    """Headers set in the request."""
    request_headers_to_remove: ListOf[HeaderName] = ()
    """Headers removed from the request."""
    response_headers_to_add: ListOf[HeaderEdit] = ()
    """Headers set in the response."""
    response_headers_to_remove: ListOf[HeaderName] = ()
    """Headers removed from the response."""
