"""From pydantic's findings to problems in the words of the API."""

from collections.abc import Iterator
from difflib import get_close_matches
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from vrata.model.errors import Problem
from vrata.model.part import Part

MOST_FINDINGS = 50
"""Translated at most: nobody reads more, and the document may be big."""
_LONGEST_STEP = 80

_EXPECTED = {
    "string_type": "must be a string",
    "bool_type": "must be true or false",
    "invalid_key": "must be text as a key",
    "float_type": "must be a number",
    "finite_number": "must be a finite number",
    "tuple_type": "must be a list",
    "dict_type": "must be an object",
    "model_type": "must be an object",
    "model_attributes_type": "must be an object",
}


def problems_of(error: ValidationError, root: type[Part]) -> tuple[Problem, ...]:
    """Translate the findings about a document of class `root`, the first ones of very many."""
    findings = error.errors(include_url=False)
    problems = [problem for details in findings[:MOST_FINDINGS] for problem in _problems(details, root)]
    if len(findings) > MOST_FINDINGS:
        problems.append(Problem("", f"and {len(findings) - MOST_FINDINGS} more"))
    return tuple(problems)


def path_of(location: tuple[int | str, ...]) -> str:
    """Write a location as the path of a member: `match.headers[0].value`."""
    path = ""
    for step in location:
        if isinstance(step, int):
            path += f"[{step}]"
        else:
            path += f"{'.' if path else ''}{step[:_LONGEST_STEP]}"
    return path


def kind_of(value: object) -> str:
    """Name the JSON type of a value, without showing the value."""
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case int() | float():
            return "a number"
        case str():
            return "a string"
        case list() | tuple():
            return "a list"
        case dict():
            return "an object"
        case _:
            return type(value).__name__


def did_you_mean(name: str, known: tuple[str, ...]) -> str:
    """Return `, did you mean "x"?` for the known name nearest to `name`, or nothing."""
    # Compared in lower case: a wrong capital is the commonest slip.
    by_lower = {candidate.lower(): candidate for candidate in known}
    nearest = get_close_matches(name.lower(), by_lower, n=1, cutoff=0.7)
    return f', did you mean "{by_lower[nearest[0]]}"?' if nearest else ""


def _problems(details: ErrorDetails, root: type[Part]) -> Iterator[Problem]:
    location = details["loc"]
    value = details["input"]
    context: dict[str, Any] = details.get("ctx", {})
    path = path_of(location)
    match details["type"]:
        case "broken_rules":
            for problem in context["problems"]:
                yield _below(path, problem)
        case "missing":
            yield Problem(path, "is required")
        case "extra_forbidden":
            known = _class_at(root, location[:-1]).member_names()
            yield Problem(path, f"unknown field{did_you_mean(str(location[-1])[:_LONGEST_STEP], known)}")
        case "integer_range":
            yield Problem(path, f"{details['msg']}, got {_shown(value)}")
        case "literal_error":
            expected = str(context["expected"]).replace("'", '"')
            yield Problem(path, f"must be {expected}, got {_shown(value)}")
        case "fixed_text":
            for template in context.get("templates") or [context["template"]]:
                yield Problem("", template.replace("{path}", path).replace("{value}", _shown(value)))
        case "int_type" | "int_from_float":
            yield Problem(path, f"must be an integer, got {_shown(value)}")
        case "value_error":
            yield Problem(path, str(context["error"]))
        case "string_unicode":
            yield Problem(path, "must be valid Unicode text")
        case kind if kind in _EXPECTED:
            yield Problem(path, f"{_EXPECTED[kind]}, got {kind_of(value)}")
        case _:
            yield Problem(path, details["msg"])


def _below(path: str, problem: Problem) -> Problem:
    if not problem.path:
        return problem
    if problem.path == ".":
        return Problem(path, problem.reason)
    return Problem(f"{path}.{problem.path}" if path else problem.path, problem.reason)


def _class_at(root: type[Part], location: tuple[int | str, ...]) -> type[Part]:
    part = root
    for step in location:
        # A step that is no member is an index of a list or a key of a map: the class stays.
        part = (part.child(step) if isinstance(step, str) else None) or part
    return part


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value) if abs(value) < 1e30 else "a huge number"
    if isinstance(value, str):
        return f'"{value}"' if len(value) <= 60 else f'"{value[:60]}…"'
    return kind_of(value)
