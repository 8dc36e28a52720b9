"""The direct response action."""

from vrata.model.number import AnswerStatus
from vrata.model.part import Part


class DirectResponse(Part):
    """A fixed answer."""

    status: AnswerStatus
    """Status of the answer; 204, 205 and 304 have no body."""
    body: str = ""
    """Body of the answer. Its type is `application/json` if it is JSON, `text/html` if it begins as an HTML document,
    else `text/plain`.
    """
