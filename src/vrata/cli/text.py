"""Text for terminals."""

from __future__ import annotations


def clean(text: str) -> str:
    """*text* without what a terminal could take for a command: it comes from entities and requests."""
    return "".join(character if character.isprintable() else repr(character)[1:-1] for character in text)


def is_text(argument: str) -> bool:
    """Whether an argument of the command line was UTF-8: what was not has become half surrogate pairs."""
    try:
        argument.encode()
    except UnicodeEncodeError:
        return False
    return True
