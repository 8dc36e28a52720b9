"""What arrives as a JSON document of its own, and is read whole or not at all."""

from typing import Self

from pydantic import ValidationError

from vrata.model.errors import InvalidEntity, Problem
from vrata.model.part import Part
from vrata.model.report import kind_of, problems_of


class Document(Part):
    """A part that is no part of another one."""

    @classmethod
    def parse(cls, data: object) -> Self:
        """Read a decoded JSON document.

        Raises:
            InvalidEntity: with every problem that was found, references between entities aside.

        """
        if not isinstance(data, dict):
            raise InvalidEntity([Problem("", f"must be an object, got {kind_of(data)}")])
        try:
            return cls.model_validate(data)
        except ValidationError as error:
            problems = problems_of(error, cls)
        # Raised outside the handler, so that no traceback carries the values of the document.
        raise InvalidEntity(problems)
