"""The middleware entity: a type, and the settings of that type."""

from typing import ClassVar, Literal, Self

from pydantic import model_validator

from vrata.model.entity import Entity
from vrata.model.errors import Problem, broken
from vrata.model.middleware.access_log import AccessLog
from vrata.model.middleware.cors import Cors
from vrata.model.middleware.ext_authz import ExtAuthz
from vrata.model.middleware.ext_proc import ExtProc
from vrata.model.middleware.headers import Headers
from vrata.model.middleware.inline_authz import InlineAuthz
from vrata.model.middleware.jwt import Jwt
from vrata.model.middleware.python import Python
from vrata.model.middleware.rate_limit import RateLimit

MiddlewareType = Literal[
    "jwt", "cors", "rateLimit", "headers", "extAuthz", "extProc", "accessLog", "inlineAuthz", "python"
]
Settings = Jwt | Cors | RateLimit | Headers | ExtAuthz | ExtProc | AccessLog | InlineAuthz | Python


class Middleware(Entity):
    """Reusable behaviour that routes and groups attach by ID.

    The member that is named like the type holds the settings. Settings of other types may be present; they are
    checked and kept, and have no effect.
    """

    kind: ClassVar[str] = "middleware"
    collection: ClassVar[str] = "middlewares"

    type: MiddlewareType
    """Which behaviour."""
    jwt: Jwt | None = None
    """Settings of type `jwt`."""
    cors: Cors | None = None
    """Settings of type `cors`."""
    rate_limit: RateLimit | None = None
    """Settings of type `rateLimit`."""
    headers: Headers | None = None
    """Settings of type `headers`."""
    ext_authz: ExtAuthz | None = None
    """Settings of type `extAuthz`."""
    ext_proc: ExtProc | None = None
    """Settings of type `extProc`."""
    access_log: AccessLog | None = None
    """Settings of type `accessLog`."""
    inline_authz: InlineAuthz | None = None
    """Settings of type `inlineAuthz`."""
    python: Python | None = None
    """Settings of type `python`."""

    @property
    def settings(self) -> Settings:
        """The settings that act."""
        settings = self._selected()
        assert settings is not None  # reading refuses a middleware without them
        return settings

    def _selected(self) -> Settings | None:
        match self.type:
            case "jwt":
                return self.jwt
            case "cors":
                return self.cors
            case "rateLimit":
                return self.rate_limit
            case "headers":
                return self.headers
            case "extAuthz":
                return self.ext_authz
            case "extProc":
                return self.ext_proc
            case "accessLog":
                return self.access_log
            case "inlineAuthz":
                return self.inline_authz
            case "python":
                return self.python

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self._selected() is None:
            if self.type == "inlineAuthz":
                raise broken(Problem("", 'inlineAuthz config is required when type is "inlineAuthz"'))
            raise broken(Problem(self.type, f'is required when type is "{self.type}"'))
        return self
