"""The direct response action."""

from vrata.model.number import AnswerStatus
from vrata.model.part import Part


class DirectResponse(Part):
    """A fixed answer."""

    status: AnswerStatus
    """Status of the answer."""
    body: str = ""
    """Body of the answer."""
