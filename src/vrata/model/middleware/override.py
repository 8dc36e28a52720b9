"""Overrides: what a route or a group changes about one middleware."""

from typing import Self

from pydantic import model_validator

from vrata.model.errors import Problem, broken
from vrata.model.middleware.ext_proc import Phases
from vrata.model.middleware.headers import Headers
from vrata.model.middleware.python import ClassSettings
from vrata.model.part import ListOf, Part
from vrata.model.text import Expression


class ExtProcOverride(Part):
    """Changes to an `extProc` middleware."""

    phases: Phases | None = None
    """Phases instead of the middleware's, all of them; absent = the middleware's."""
    allow_on_error: bool | None = None
    """Instead of the middleware's; absent = the middleware's."""


class PythonOverride(Part):
    """Changes to a `python` middleware."""

    settings: ClassSettings
    """What the class is made with here instead of the middleware's `settings`, all of them."""


class Override(Part):
    """Changes to one middleware at one place."""

    disabled: bool = False
    """Leave the middleware out; nothing else counts then."""
    skip_when: ListOf[Expression] = ()
    """CEL expressions; the middleware is skipped if any is true."""
    only_when: ListOf[Expression] = ()
    """CEL expressions; the middleware runs only if any is true. Not together with `skipWhen`."""
    headers: Headers | None = None
    """Settings instead of those of a `headers` middleware."""
    ext_proc: ExtProcOverride | None = None
    """Changes to an `extProc` middleware."""
    python: PythonOverride | None = None
    """Changes to a `python` middleware."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.skip_when and self.only_when:
            raise broken(Problem("onlyWhen", "must not be given together with skipWhen"))
        return self
