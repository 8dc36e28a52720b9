"""References to secrets inside texts: `{{secret:<source>:<name>}}`.

The control plane resolves them when it makes a snapshot. Until then nobody knows the text, so what a member
demands of its content is not asked of a text with a reference in it.
"""

import re
from collections.abc import Callable
from typing import Final

SOURCES: Final = ("value", "env", "file")
"""Where a secret may come from: a Secret entity by its ID, an environment variable, a file."""

REFERENCE: Final = re.compile(r"\{\{secret:(?P<source>[^:}]*):(?P<name>[^}]*)\}\}")
"""One reference. It also matches sources that do not exist, for those have to be reported, not left alone."""


def contains_reference(text: str) -> bool:
    """Tell whether any part of the text is a reference to a secret."""
    return "{{secret:" in text and REFERENCE.search(text) is not None


def unless_reference(check: Callable[[str], object]) -> Callable[[str], str]:
    """Turn a check of a text (which raises ValueError) into a validator that lets references pass."""

    def validate(text: str) -> str:
        if not contains_reference(text):
            check(text)
        return text

    return validate
