"""The meter of responses, which those of routes, destinations and endpoints have in common."""

from __future__ import annotations

from bisect import bisect_left

from vrata.observability.metrics import Histogram


class ResponseMeter(Histogram):
    """Responses: how long they took, in seconds, and how many had which status."""

    __slots__ = ("_ok", "_others", "exemplars")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        super().__init__(bounds)
        self.exemplars: dict[int, tuple[str, float, float]] | None = None
        """By the index of the bucket: the trace of a response in it, its seconds, and when that was (since 1970)."""
        # Most have status 200: it is kept apart, since a dictionary would cost as much as all the rest.
        self._ok = 0
        self._others: dict[int, int] = {}

    def __repr__(self) -> str:
        return f"<ResponseMeter {self.statuses}>"

    @property
    def statuses(self) -> dict[int, int]:
        """How many responses there were of each status."""
        return {200: self._ok, **self._others} if self._ok else dict(self._others)

    @property
    def is_zero(self) -> bool:
        """True when there were none."""
        return not self._ok and not self._others

    def record(self, status: int, seconds: float) -> None:
        """Count one response."""
        if status == 200:
            self._ok += 1
        else:
            self._others[status] = self._others.get(status, 0) + 1
        # What follows is observe(), spelled out to save a call.
        self.counts[0 if seconds <= self.lowest else bisect_left(self.bounds, seconds)] += 1
        self.sum += seconds

    def exemplify(self, seconds: float, trace_id: str, at: float) -> None:
        """Of the responses counted there is one that took *seconds* in the trace *trace_id*."""
        index = bisect_left(self.bounds, seconds)
        if self.exemplars is None:
            self.exemplars = {}
        self.exemplars[index] = (trace_id, seconds, at)

    def take_exemplars(self) -> dict[int, tuple[str, float, float]] | None:
        """Return those that were noted since the last time; None for none."""
        exemplars = self.exemplars
        self.exemplars = None
        return exemplars

    def reset(self, bounds: tuple[float, ...]) -> None:
        """Begin to count durations again, with other buckets."""
        super().reset(bounds)
        self.exemplars = None

    def add_statuses(self, statuses: dict[int, int]) -> None:
        """Add what :meth:`take_statuses` returned of another one."""
        for status, count in statuses.items():
            if status == 200:
                self._ok += count
            else:
                self._others[status] = self._others.get(status, 0) + count

    def take_statuses(self) -> dict[int, int]:
        """Return the counts by status, and begin again at zero."""
        statuses = self.statuses
        self._ok = 0
        self._others = {}
        return statuses
