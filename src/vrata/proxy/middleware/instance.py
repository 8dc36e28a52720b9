"""Instances: what one middleware is, beside the places where it acts."""

from __future__ import annotations

from typing import Protocol

from vrata.proxy.middleware.stage import Inner, Place


class MiddlewareUnavailable(Exception):  # noqa: N818 - an outcome, of which the places make the best
    """A middleware cannot work; ``args[0]`` says why, for people."""


class Instance(Protocol):
    """One middleware in one worker: its settings, ready for use, and what it remembers.

    It is kept from plan to plan for as long as its settings are the same, so whatever it needs of a plan, such as a
    destination, is told to its stages by their places.
    """

    def stage(self, place: Place, inner: Inner) -> Inner:
        """Make the stage at *place*, with *inner* inside. Raises :class:`MiddlewareUnavailable`."""
        ...

    def close(self) -> None:
        """No plan uses it any more, and no request that is under way will come to one of its stages, unless the worker
        ends before."""
        ...
