"""Effects: what one middleware does with a request, as far as that can be told without sending it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from vrata.proxy.explain.entry import Document
from vrata.proxy.middleware.rejection import Rejection


@dataclass
class Effect:
    """What one middleware does."""

    text: str
    """For people: a clause whose subject is the middleware; empty where it is all in what happens to fields."""
    details: Document = field(default_factory=dict)
    """For programs, by the type of the middleware."""
    rejection: Rejection | None = None
    """What it answers; None when the request goes on."""
    assumption: str = ""
    """What has to be the case for the request to fare like this, and cannot be known here; empty for nothing."""
    sees_response: bool = False
    """Whether the response passes it on its way out, whoever makes that."""
    response: Document = field(default_factory=dict)
    """What it does to the fields of any response: ``set`` and ``removed``."""
    finish: Callable[[Effect], None] | None = None
    """To be called when the request is past all middlewares, and the answer, if there is one, as well: there is more to
    tell then."""
