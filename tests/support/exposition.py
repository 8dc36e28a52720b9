"""Metrics as a scraper reads them, by the parsers of the reference implementation."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

Labels = frozenset[tuple[str, str]]


class Scraped:
    """Every sample of one exposition."""

    def __init__(self, text: str, *, openmetrics: bool = False) -> None:
        self.text = text
        self.families: list[Metric] = list((parse_openmetrics if openmetrics else parse_text)(text))
        self.samples: dict[tuple[str, Labels], float] = {}
        for family in self.families:
            for sample in family.samples:
                key = (sample.name, frozenset(sample.labels.items()))
                assert key not in self.samples, f"twice: {sample}"
                self.samples[key] = sample.value

    def __call__(self, name: str, **labels: str) -> float:
        """The sum of all samples of *name* whose labels include *labels*; ``KeyError`` when there is none."""
        found = self.all(name, **labels)
        if not found:
            raise KeyError(f"{name} {labels} is not in\n{self.text}")
        return sum(found)

    def all(self, name: str, **labels: str) -> list[float]:
        """The values of *name* whose labels include *labels*."""
        wanted = labels.items()
        return [value for (found, pairs), value in self.samples.items() if found == name and wanted <= pairs]

    def values(self, label: str) -> set[str]:
        """Every value of *label*, in whatever metric."""
        return {value for _, pairs in self.samples for found, value in pairs if found == label}

    def exemplars(self, name: str) -> dict[str, tuple[str, float, float]]:
        """Of the buckets of *name*, by their limit: the trace, the seconds and the time (since 1970) of an example."""
        return {
            sample.labels["le"]: (exemplar.labels["trace_id"], exemplar.value, float(exemplar.timestamp or 0.0))
            for family in self.families
            for sample in family.samples
            if sample.name == f"{name}_bucket" and (exemplar := sample.exemplar) is not None
        }

    def counters(self) -> dict[tuple[str, Labels], float]:
        """What must never fall: counters, and the counts and sums of histograms."""
        growing = ("_total", "_count", "_sum", "_bucket")
        return {key: value for key, value in self.samples.items() if key[0].endswith(growing)}

    def falls_below(self, earlier: Scraped) -> Iterable[str]:
        """Name every counter that is smaller than it was, or gone."""
        now = self.samples
        for key, value in earlier.counters().items():
            if now.get(key, -1) < value:
                yield f"{key}: {value}, later {now.get(key)}"
