"""Middlewares: the settings of each type, one type per file, and what routes and groups override.

A *middleware* is an entity with a *type* and the *settings* of that type. An *override* changes one middleware
for one route or group. Flow: document → settings; what they do to requests is the proxy's.
"""

from vrata.model.middleware.access_log import AccessLog, LogEntry
from vrata.model.middleware.cors import Cors, Origin
from vrata.model.middleware.ext_authz import ExtAuthz, OnAllow, OnCheck, OnDeny
from vrata.model.middleware.ext_proc import ExtProc, HeaderRules, ObserveMode, Phases
from vrata.model.middleware.headers import HeaderEdit, Headers
from vrata.model.middleware.inline_authz import AuthzRule, InlineAuthz
from vrata.model.middleware.jwt import ClaimToHeader, Jwt
from vrata.model.middleware.middleware import Middleware, MiddlewareType
from vrata.model.middleware.override import ExtProcOverride, Override, PythonOverride
from vrata.model.middleware.python import Python
from vrata.model.middleware.rate_limit import RateLimit, RateLimitKey

__all__ = [
    "AccessLog",
    "AuthzRule",
    "ClaimToHeader",
    "Cors",
    "ExtAuthz",
    "ExtProc",
    "ExtProcOverride",
    "HeaderEdit",
    "HeaderRules",
    "Headers",
    "InlineAuthz",
    "Jwt",
    "LogEntry",
    "Middleware",
    "MiddlewareType",
    "ObserveMode",
    "OnAllow",
    "OnCheck",
    "OnDeny",
    "Origin",
    "Override",
    "Phases",
    "Python",
    "PythonOverride",
    "RateLimit",
    "RateLimitKey",
]
