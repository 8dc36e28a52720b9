"""What is wrong with an entity: one `Problem` for each broken rule, all of them in one `InvalidEntity`."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, PydanticCustomError, core_schema


@dataclass(frozen=True, slots=True)
class Problem:
    """One broken rule.

    `path` names the member by its JSON names (`match.headers[0].value`). It is empty when the reason is a text
    that the API fixes word for word, and when the whole document is meant.
    """

    path: str
    reason: str

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}" if self.path else self.reason


class InvalidEntity(Exception):  # noqa: N818 - the name says what was found
    """A document that is no valid entity. Carries every problem found, never the values of secrets."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(map(str, self.problems)))


def broken(*problems: Problem) -> PydanticCustomError:
    """Make the error by which a part reports broken rules between its members, each path relative to the part
    (`.` is the part itself).

    A problem without a path is a fixed text and stays as it is, wherever the part is.
    """
    return PydanticCustomError("broken_rules", "{problems}", {"problems": problems})


def fixed(*templates: str) -> PydanticCustomError:
    """Make an error of texts that are fixed; `{path}` and `{value}` stand for where it is and what was there."""
    return PydanticCustomError("fixed_text", "{templates}", {"templates": templates})


class FixedText:
    """Annotation of a member: replaces whatever is wrong with it by a text that is fixed, as in `fixed`."""

    def __init__(self, template: str) -> None:
        self._template = template

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.custom_error_schema(
            handler(source),
            custom_error_type="fixed_text",
            custom_error_message="{template}",
            custom_error_context={"template": self._template},
        )
