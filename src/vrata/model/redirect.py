"""The redirect action."""

from typing import Annotated

from pydantic import AfterValidator

from vrata.model.host import Authority
from vrata.model.part import Part
from vrata.model.text import Path, Scheme, UrlText

CODES = (301, 302, 303, 307, 308)


def _check_code(code: int) -> int:
    # A Literal would do, but it takes 301.0 for 301.
    if code not in CODES:
        raise ValueError(f"must be one of {', '.join(map(str, CODES))}, got {code}")
    return code


class Redirect(Part):
    """An answer that sends the client elsewhere."""

    url: UrlText = ""
    """The location, word for word; everything else but `code` is of no effect then."""
    scheme: Scheme = ""
    """Scheme of the location; absent = the request's."""
    host: Authority = ""
    """Host of the location, with a port if need be; absent = the request's."""
    path: Path = ""
    """Path of the location, the whole of it; absent = the request's."""
    strip_query: bool = False
    """Leave the query out."""
    code: Annotated[int, AfterValidator(_check_code)] = 301
    """Status of the answer."""
