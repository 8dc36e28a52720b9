"""From middleware entities to the chains that requests pass."""

from __future__ import annotations

import asyncio
import json
import weakref
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Final, TypeAlias

from vrata.expressions import Expression
from vrata.model.group import RouteGroup
from vrata.model.middleware.middleware import Middleware
from vrata.model.middleware.override import Override
from vrata.model.route import Route
from vrata.net.deadlines import DeadlineSweeper
from vrata.observability.tasks import TaskSupervisor
from vrata.policy.middleware_chain import ChainLink, middleware_chain
from vrata.proxy.body_gate import BodyGate
from vrata.proxy.callout.callout import ServiceDestination
from vrata.proxy.callout.services import Services
from vrata.proxy.meters import middleware_key
from vrata.proxy.middleware.access_log import AccessLogInstance
from vrata.proxy.middleware.conditional import Conditional
from vrata.proxy.middleware.cors import CorsInstance
from vrata.proxy.middleware.ext_authz.stage import ExtAuthzInstance
from vrata.proxy.middleware.ext_proc.instance import ExtProcInstance
from vrata.proxy.middleware.headers import HeadersInstance
from vrata.proxy.middleware.inline_authz import InlineAuthzInstance
from vrata.proxy.middleware.instance import Instance, MiddlewareUnavailable
from vrata.proxy.middleware.jwt import token_guard
from vrata.proxy.middleware.key_sets import KeySets
from vrata.proxy.middleware.log_writer import LogWriters
from vrata.proxy.middleware.python.instance import PythonInstance
from vrata.proxy.middleware.python.modules import NO_MODULES, PythonModules
from vrata.proxy.middleware.rate_limit.instance import RateLimitInstance
from vrata.proxy.middleware.rate_limit.limits import FleetLimits, LocalLimits
from vrata.proxy.middleware.stage import Inner, Place
from vrata.proxy.middleware.unavailable import Unavailable

_CLOSED: Final = "its requests are answered with 500"

CompileExpression = Callable[[str], Expression]
"""Makes an expression of its text, of those over requests. Raises InvalidExpression."""


@dataclass(frozen=True)
class Resources:
    """What instances may use. It outlives every plan."""

    sweeper: DeadlineSweeper
    tasks: TaskSupervisor
    services: Services
    """Of other programs, which are asked through destinations."""
    key_sets: KeySets
    bodies: BodyGate
    log_writers: LogWriters
    local_limits: Callable[[], LocalLimits]
    """Where the workers of this proxy limit rates together; to be asked when an instance is made."""
    python_modules: PythonModules = NO_MODULES
    fleet_limits: FleetLimits | None = None
    """Where all proxies limit rates together; None = nowhere."""
    closings: set[asyncio.Task[None]] = field(default_factory=set)
    """What instances still have to do after they were closed; a worker waits for it before it ends."""


Builder = Callable[[Any, Resources], Instance]
"""Makes an instance of the settings of its type. Raises ValueError and :class:`MiddlewareUnavailable`."""


class Lease:
    """What keeps one instance open.

    Plans hold it, and so does every stage of the instance by its place. A request leads to the stages that it may still
    come to, so with the last of plans and requests it goes, and the instance is closed.
    """

    __slots__ = ("__weakref__", "instance")

    def __init__(self, instance: Instance) -> None:
        self.instance = instance

    def __repr__(self) -> str:
        return f"<Lease of {self.instance!r}>"


Used: TypeAlias = Mapping[str, tuple[Middleware, Lease]]
"""The instances that a plan uses, each with the middleware that it was made of: by that one's ID, and those that an
override has made of it by more than that."""

Drafted: TypeAlias = dict[str, tuple[Middleware, Lease]]
"""The same, while the plan is made."""

BUILDERS: Final[Mapping[str, Builder]] = {
    "jwt": lambda settings, resources: token_guard(settings, resources.key_sets),
    "accessLog": lambda settings, resources: AccessLogInstance(settings, resources.log_writers),
    "cors": lambda settings, _: CorsInstance(settings),
    "headers": lambda settings, _: HeadersInstance(settings),
    "rateLimit": lambda settings, resources: RateLimitInstance(
        settings, resources.local_limits(), resources.fleet_limits, resources.bodies
    ),
    "inlineAuthz": lambda settings, resources: InlineAuthzInstance(settings, resources.bodies),
    "extAuthz": lambda settings, resources: ExtAuthzInstance(settings, resources.services),
    "extProc": lambda settings, resources: ExtProcInstance(settings, resources.services),
    "python": lambda settings, resources: PythonInstance(
        settings, resources.python_modules, resources.tasks, resources.sweeper, resources.closings
    ),
}
"""By type. Whatever is not here cannot work, and fails closed."""


class Instances:
    """The instances of one worker, from plan to plan."""

    def __init__(self, resources: Resources, loop: asyncio.AbstractEventLoop) -> None:
        """Instances are closed in a turn of *loop*."""
        self.resources = resources
        self._kept: Used = {}
        self._open: dict[int, weakref.finalize[[int, Instance], Lease]] = {}
        self._numbers = count()
        self._loop = loop

    def __repr__(self) -> str:
        return f"<Instances {sorted(self._kept)}, {self.open_count} open>"

    @property
    def open_count(self) -> int:
        """How many are open: those of the plan in force, and those that requests of earlier ones still need."""
        return len(self._open)

    def find(self, key: str, middleware: Middleware, drafted: Used) -> Lease:
        """The instance *key* of *middleware*: one kept or *drafted* if its settings are the same, else a new one.

        Raises ValueError and :class:`MiddlewareUnavailable`.
        """
        for known in (drafted.get(key), self._kept.get(key)):
            if known is not None and known[0].type == middleware.type and known[0].settings == middleware.settings:
                return known[1]
        builder = BUILDERS.get(middleware.type)
        if builder is None:
            raise MiddlewareUnavailable(f'this build knows no middleware of type "{middleware.type}"')
        return self._lease(builder(middleware.settings, self.resources))

    def keep_only(self, used: Used) -> None:
        """A plan that uses these is in force: the others are closed when no request needs them any more."""
        self._kept = dict(used)

    def close(self) -> None:
        """The worker ends: close all that are open, whoever may still need them."""
        self._kept = {}
        for closing in list(self._open.values()):
            found = closing.detach()
            if found is not None:
                lease, *_ = found
                lease.instance.close()
        self._open.clear()

    def _lease(self, instance: Instance) -> Lease:
        lease = Lease(instance)
        number = next(self._numbers)
        closing = self._open[number] = weakref.finalize(lease, self._unused, number, instance)
        closing.atexit = False
        return lease

    def _unused(self, number: int, instance: Instance) -> None:
        self._open.pop(number, None)
        # Later: whoever has let go of it last may be anywhere, and does not expect that the world changes then.
        if not self._loop.is_closed():
            self._loop.call_soon(instance.close)


class ChainFactory:
    """Makes the chains of one plan."""

    def __init__(
        self,
        instances: Instances,
        used: Drafted,
        compile_expression: CompileExpression,
        destinations: Mapping[str, ServiceDestination],
    ) -> None:
        """What is taken from *instances*, or made, gets into *used*. *destinations* are those of the plan, by ID."""
        self._instances = instances
        self._used = used
        self._compile = compile_expression
        self._destinations = destinations
        self._middlewares: dict[str, Middleware] = {}
        self._broken: dict[str, str] = {}

    def add(self, middleware: Middleware) -> None:
        """*middleware* can be named by routes and groups."""
        self._middlewares[middleware.id] = middleware

    def chain(self, route: Route, group: RouteGroup | None, action: Inner) -> tuple[Inner, list[str]]:
        """Put the middlewares of *route*, inside *group*, around its *action*; with what is wrong with them, in words.

        One that cannot work is replaced by an answer that lets nobody past.
        """
        problems: list[str] = []
        inner = action
        for link in reversed(middleware_chain(route, group)):
            override = link.override
            if override is not None and override.disabled:
                continue
            stage = self._stage(link, inner, problems)
            inner = stage if override is None else self._conditional(override, stage, inner, problems)
        return inner, problems

    def _stage(self, link: ChainLink, inner: Inner, problems: list[str]) -> Inner:
        middleware = self._middlewares.get(link.middleware_id)
        if middleware is None:
            problems.append(f'middleware "{link.middleware_id}" does not exist or could not be read: {_CLOSED}')
            place = Place(link.middleware_id, link.middleware_id, middleware_key(link.middleware_id, ""), link.override)
            return Unavailable(place, inner)
        meter_key = middleware_key(middleware.name, middleware.type)
        try:
            lease = self._lease(*_overridden(middleware, link.override))
            place = Place(middleware.id, middleware.name, meter_key, link.override, self._destinations, lease)
            return lease.instance.stage(place, inner)
        except (MiddlewareUnavailable, ValueError) as error:
            problems.append(f'middleware "{middleware.id}" cannot work: {error}: {_CLOSED}')
            return Unavailable(Place(middleware.id, middleware.name, meter_key, link.override), inner)

    def _lease(self, key: str, middleware: Middleware) -> Lease:
        broken = self._broken.get(key)
        if broken is not None:
            raise MiddlewareUnavailable(broken)
        try:
            lease = self._instances.find(key, middleware, self._used)
        except (MiddlewareUnavailable, ValueError) as error:
            self._broken[key] = str(error)
            raise
        self._used[key] = middleware, lease
        return lease

    def _conditional(self, override: Override, stage: Inner, inner: Inner, problems: list[str]) -> Inner:
        if not override.skip_when and not override.only_when:
            return stage
        skip_when = self._expressions(override.skip_when, "skipWhen", problems)
        only_when = self._expressions(override.only_when, "onlyWhen", problems)
        if override.only_when and not only_when:
            return inner  # none of them is true, ever
        return Conditional(stage, inner, skip_when, only_when, self._instances.resources.bodies)

    def _expressions(self, texts: Iterable[str], member: str, problems: list[str]) -> tuple[Expression, ...]:
        """Compile *texts*. One that cannot be is never true; the control plane refuses it before it gets here."""
        found: list[Expression] = []
        for text in texts:
            try:
                found.append(self._compile(text))
            except ValueError as error:
                problems.append(f"{member}: {error}: it counts as false")
        return tuple(found)


def _overridden(middleware: Middleware, override: Override | None) -> tuple[str, Middleware]:
    """What *middleware* is where *override* acts on what its instance is made of, and the key of that instance."""
    if override is None or override.python is None or middleware.type != "python" or middleware.python is None:
        return middleware.id, middleware
    settings = override.python.settings
    python = middleware.python.model_copy(update={"settings": settings})
    # No ID has a slash.
    key = f"{middleware.id}/{json.dumps(settings, sort_keys=True)}"
    return key, middleware.model_copy(update={"python": python})
