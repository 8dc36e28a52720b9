"""Metrics as text: the Prometheus text format 0.0.4, and OpenMetrics 1.0.

Both are written family by family: a head, then its samples. They differ in the name of a counter's family, which
OpenMetrics gives without ``_total``, and in that OpenMetrics marks the end.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import accumulate
from typing import Literal

from vrata.observability.metrics import Histogram

PROMETHEUS_TYPE = b"text/plain; version=0.0.4; charset=utf-8"
"""Content-Type of the Prometheus text format."""
OPENMETRICS_TYPE = b"application/openmetrics-text; version=1.0.0; charset=utf-8"
"""Content-Type of OpenMetrics."""

_TOTAL = "_total"


@dataclass(frozen=True, slots=True)
class Family:
    """Metrics of one name, which differ in the values of their labels."""

    name: str
    """A counter's ends in ``_total``."""
    kind: Literal["counter", "gauge", "histogram"]
    labels: tuple[str, ...]
    help: str
    """One sentence for people."""

    def head(self, *, openmetrics: bool) -> str:
        """Return the lines before the samples."""
        name = self.name.removesuffix(_TOTAL) if openmetrics and self.kind == "counter" else self.name
        # The escapes of a help text are those of both formats as long as it has no quotation mark.
        text = self.help.replace("\\", r"\\").replace("\n", r"\n")
        return f"# HELP {name} {text}\n# TYPE {name} {self.kind}\n"

    def sample(self, values: Iterable[str], number: float) -> str:
        """Return the line of one counter or gauge; *values* are those of the labels."""
        return f"{self.name}{_braced(self._pairs(values))} {number_text(number)}\n"

    def histogram(self, values: Iterable[str], histogram: Histogram) -> str:
        """Return the lines of one histogram."""
        pairs = self._pairs(values)
        labels = _braced(pairs)
        counts = list(accumulate(histogram.counts))
        limits = [*(number_text(bound) for bound in histogram.bounds), "+Inf"]
        begin = f"{self.name}_bucket{{{','.join([*pairs, 'le='])}"
        buckets = [f'{begin}"{limit}"}} {count}\n' for limit, count in zip(limits, counts, strict=True)]
        return (
            f"{''.join(buckets)}{self.name}_sum{labels} {number_text(histogram.sum)}\n"
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
        quality = 1.0
        for parameter in parameters:
            name, _, value = parameter.partition("=")
            if name.strip() == "q":
                quality = _quality(value.strip())
        if media_range == "application/openmetrics-text":
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
