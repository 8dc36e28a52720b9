"""Metrics as text: the Prometheus text format 0.0.4, and OpenMetrics 1.0.

Both are written family by family: a head, then its samples. They differ in the name of a counter's family, which
OpenMetrics gives without ``_total``, in that only OpenMetrics knows what states facts (``_info``) as a type of its own
and has exemplars, and in that it marks the end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import accumulate
from time import perf_counter
from typing import Literal, NamedTuple

from vrata.observability.metrics import Histogram

PROMETHEUS_TYPE = b"text/plain; version=0.0.4; charset=utf-8"
"""Content-Type of the Prometheus text format."""
OPENMETRICS_TYPE = b"application/openmetrics-text; version=1.0.0; charset=utf-8"
"""Content-Type of OpenMetrics."""

SLICE = 0.01
"""Seconds of work between two turns of the event loop."""

_TOTAL = "_total"
_INFO = "_info"
_VERSIONS = frozenset({"", "0.0.1", "1.0.0"})
"""Of OpenMetrics, for whose readers we write; "" where none is named."""


class Exemplar(NamedTuple):
    """One of the observations that a bucket holds."""

    trace_id: str
    """The trace in which it was made: 32 hexadecimal digits."""
    value: float
    at: float
    """When, in seconds since 1970."""


@dataclass(frozen=True, slots=True)
class Family:
    """Metrics of one name, which differ in the values of their labels."""

    name: str
    """A counter's ends in ``_total``, an info's in ``_info``."""
    kind: Literal["counter", "gauge", "histogram", "info"]
    labels: tuple[str, ...]
    help: str
    """One sentence for people."""

    def head(self, *, openmetrics: bool) -> str:
        """Return the lines before the samples."""
        name, kind = self.name, self.kind
        if openmetrics:
            name = name.removesuffix(_TOTAL if kind == "counter" else _INFO if kind == "info" else "")
        elif kind == "info":
            kind = "gauge"
        # The escapes of a help text are those of both formats as long as it has no quotation mark.
        text = self.help.replace("\\", r"\\").replace("\n", r"\n")
        return f"# HELP {name} {text}\n# TYPE {name} {kind}\n"

    def sample(self, values: Iterable[str], number: float) -> str:
        """Return the line of one counter, gauge or info; *values* are those of the labels."""
        return f"{self.name}{_braced(self._pairs(values))} {number_text(number)}\n"

    def histogram(
        self, values: Iterable[str], histogram: Histogram, exemplars: Mapping[int, Exemplar] | None = None
    ) -> str:
        """Return the lines of one histogram; *exemplars* are by the index of the bucket, and for OpenMetrics alone."""
        pairs = self._pairs(values)
        labels = _braced(pairs)
        counts = list(accumulate(histogram.counts))
        limits = [*(number_text(bound) for bound in histogram.bounds), "+Inf"]
        begin = f"{self.name}_bucket{{{','.join([*pairs, 'le='])}"
        buckets = [f'{begin}"{limit}"}} {count}' for limit, count in zip(limits, counts, strict=True)]
        for index, exemplar in (exemplars or {}).items():
            buckets[index] += f' # {{trace_id="{exemplar.trace_id}"}} {exemplar.value!r} {exemplar.at:.3f}'
        buckets_text = "\n".join(buckets)
        return (
            f"{buckets_text}\n{self.name}_sum{labels} {number_text(histogram.sum)}\n"
            f"{self.name}_count{labels} {counts[-1]}\n"
        )

    def _pairs(self, values: Iterable[str]) -> list[str]:
        return [f'{label}="{escaped(value)}"' for label, value in zip(self.labels, values, strict=True)]


def lines(families: Iterable[tuple[Family, Iterator[str]]], *, openmetrics: bool) -> Iterator[str]:
    """Give the whole text in short pieces; families without samples are left out."""
    for family, samples in families:
        headless = True
        for sample in samples:
            if headless:
                yield family.head(openmetrics=openmetrics)
                headless = False
            yield sample
    if openmetrics:
        yield "# EOF\n"


async def text(families: Iterable[tuple[Family, Iterator[str]]], *, openmetrics: bool) -> bytes:
    """Return the whole text, in UTF-8. It is made in slices, between which the event loop does other things."""
    pieces: list[str] = []
    deadline = perf_counter() + SLICE
    for piece in lines(families, openmetrics=openmetrics):
        pieces.append(piece)
        if perf_counter() >= deadline:
            await asyncio.sleep(0)
            deadline = perf_counter() + SLICE
    return "".join(pieces).encode("utf-8", "replace")


def escaped(value: str) -> str:
    """Return *value* as it stands between the quotation marks of a label."""
    if "\\" in value or '"' in value or "\n" in value:
        return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
    return value


def number_text(number: float) -> str:
    """Return an integer as it is, and every other number so that reading it gives the same one."""
    return repr(number)


def wants_openmetrics(accept: str) -> bool:
    """Tell by the Accept field (RFC 9110 §12.5.1) whether a client likes OpenMetrics better than plain text."""
    openmetrics, plain = 0.0, 0.0
    for member in accept.lower().split(","):
        media_range, *parameters = (part.strip() for part in member.split(";"))
        quality, version = 1.0, ""
        for parameter in parameters:
            name, _, value = parameter.partition("=")
            if name.strip() == "q":
                quality = _quality(value.strip())
            elif name.strip() == "version":
                version = value.strip(' \t"')
        if media_range == "application/openmetrics-text" and version in _VERSIONS:
            openmetrics = max(openmetrics, quality)
        elif media_range == "text/plain":
            plain = max(plain, quality)
    return openmetrics > 0 and openmetrics >= plain


def _quality(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        return 0.0
    return value if 0 <= value <= 1 else 0.0


def _braced(pairs: list[str]) -> str:
    return "{" + ",".join(pairs) + "}" if pairs else ""
