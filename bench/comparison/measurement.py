"""Measurements: what one run of a workload against one proxy showed."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from statistics import median

from bench.comparison.usage import ProcessorTime


@dataclass(frozen=True, slots=True)
class Load:
    """What a load generator counted."""

    requests: int
    """Answered completely."""
    failed: int
    """Connections refused or broken, answers other than 2xx, time-outs."""
    seconds: float
    p50_ms: float
    p99_ms: float


@dataclass(frozen=True, slots=True)
class Measurement:
    """The figures of one run, or the medians of several. Names are those of the results' document."""

    cpu_us: float
    """Processor time of the proxy's data path per request, in microseconds: the sum of the next two."""
    user_us: float
    sys_us: float
    """The kernel's part. On loopback it includes the receiver's TCP work for what the proxy sends."""
    rps: float
    p50_ms: float
    p99_ms: float

    def document(self) -> dict[str, float]:
        return {name: round(value, 4) for name, value in asdict(self).items()}


FIGURES = tuple(field.name for field in fields(Measurement))


def measure(load: Load, spent: ProcessorTime) -> Measurement:
    """Put together what was counted and what was *spent* on it. Raises ``ValueError`` when nothing was answered."""
    if load.requests == 0 or load.seconds <= 0:
        raise ValueError("no request was answered")
    user, system = (1e6 * part / load.requests for part in (spent.user, spent.system))
    return Measurement(
        cpu_us=user + system,
        user_us=user,
        sys_us=system,
        rps=load.requests / load.seconds,
        p50_ms=load.p50_ms,
        p99_ms=load.p99_ms,
    )


def medians(measurements: list[Measurement]) -> Measurement:
    """The median of each figure by itself, so user and system time need not add up exactly."""
    return Measurement(*(median(getattr(measurement, name) for measurement in measurements) for name in FIGURES))
