"""Subject alternative names, by which a certificate says whose it is (RFC 5280 §4.2.1.6)."""

import re
from typing import Annotated

from pydantic import AfterValidator

from vrata.model.host import check_host
from vrata.model.reference import unless_reference

_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:(?![0-9]*$)[!-~]+")
"""The scheme decides; but no port is taken for the rest of a URI."""


def check_alternative_name(text: str) -> None:
    """Demand a host name, an IP address (IPv6 without brackets) or a URI.

    Raises:
        ValueError: with the demand.

    """
    try:
        check_host(text)
    except ValueError:
        if _URI.fullmatch(text) is None:
            hint = ' (a "*" in the certificate stands for one label of it)' if text.startswith("*.") else ""
            demand = f"must be a host name{hint}, an IP address or a URI"
            raise ValueError(f'{demand} such as "spiffe://example.org/web", got "{text[:60]}"') from None


AlternativeName = Annotated[str, AfterValidator(unless_reference(check_alternative_name))]
"""A DNS name, an IP address or a URI."""
