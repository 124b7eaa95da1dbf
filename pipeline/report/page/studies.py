"""Several studies on one page: their headline numbers in a table, and against the number of groups in figures.

Reads only the metrics of a study (`pipeline/report/exports/metrics.py`), so studies of other models, methods and code
stand side by side. No interval covers a difference between two of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipeline.report.page.cells import figure, interval
from pipeline.report.page.page import fill
from pipeline.report.page.svg import Figure, Scale, element, line, marker, svg, text, tick
from pipeline.report.page.table import Cell, Column, Row, Table
from pipeline.report.text.wording import listed, number
from pipeline.statistics.bootstrap import Interval

WIDTH, HEIGHT = 360, 250
COUNT = "clusters.count"
FIGURES = {
    "gain": ("Routed minus pooled", "points of accuracy", 1.0),
    "pooled_gain": ("Best pooled allocation minus the baseline", "points of accuracy", 1.0),
    "regret": ("Regret of routing", "points of accuracy", 1.0),
    "clusters.stability": ("Groups: agreement of two halves", "ARI", 1.0),
    "clusters.nmi": ("Groups: agreement with the nearest label", "NMI", 1.0),
    "accuracy.baseline": ("Pooled baseline at the sparsest target", "accuracy, %", 100.0),
}
"""Metric -> title, unit and factor of its figure; the first three have ends `mean`, and the first two an interval."""


@dataclass(frozen=True)
class Study:
    """A run: its name, and its metrics.json."""

    name: str
    metrics: Mapping[str, float]

    def value(self, metric: str) -> Interval | None:
        """A metric, without an interval of no width if it has none; None where it was not measured."""
        mean = self.metrics.get(f"{metric}.mean", self.metrics.get(metric))
        if mean is None:
            return None
        low, high = (self.metrics.get(f"{metric}.{end}", mean) for end in ("low", "high"))
        return Interval(mean, low, high)


def render_studies(studies: Sequence[Study]) -> str:
    """The page. Studies keep their order; figures are drawn where at least two numbers of groups were run."""
    counts = sorted({study.metrics[COUNT] for study in studies if COUNT in study.metrics})
    drawn = [panel(studies, metric) for metric in FIGURES] if len(counts) > 1 else []
    context = {
        "headline": headline(studies),
        "parts": [table(studies)],
        "figures": [figure for figure in drawn if figure is not None],
    }
    return fill("studies.html.j2", page=context)


def headline(studies: Sequence[Study]) -> str:
    """Which studies show a gain of groups, over samples and over tasks."""
    shown = [study.name for study in studies if (_lowest(study) or -1.0) > 0]
    asked = [study for study in studies if study.value("gain")]
    if not asked:
        return f"None of {len(studies)} studies compares routed groups with a pooled profile."
    if not shown:
        return f"Routed groups are not shown to beat the pooled profile in any of {len(asked)} studies."
    return f"Routed groups beat the pooled profile in {len(shown)} of {len(asked)} studies: {listed(shown)}."


def table(studies: Sequence[Study]) -> Table:
    """Every metric of every study, a row each."""
    bases = list(dict.fromkeys(_base(name) for study in studies for name in study.metrics))
    rows = [Row(study.name, [_cell(study, base) for base in bases]) for study in studies]
    note = "Gains and regret in points, other accuracies as fractions; intervals over the samples of each study alone."
    return Table("Headline numbers", "study", [Column(base) for base in bases], rows, note)


def panel(studies: Sequence[Study], metric: str) -> Figure | None:
    """One metric against the number of groups; None where fewer than two studies have it."""
    title, unit, factor = FIGURES[metric]
    known = [(study, study.value(metric)) for study in studies if COUNT in study.metrics]
    points = sorted(((s.metrics[COUNT], s.name, value) for s, value in known if value), key=lambda point: point[:2])
    if len(points) < 2:
        return None
    counts = sorted({count for count, _, _ in points})
    ends = [factor * end for *_, value in points for end in (value.low, value.high)]
    margin = 0.08 * (max(ends) - min(ends)) or 0.05
    x = Scale(0, len(counts) - 1, 60, WIDTH - 24)
    y = Scale(min(ends) - margin, max(ends) + margin, HEIGHT - 42, 28)
    parts = [line(50, y(at), WIDTH - 10, y(at)) + text(44, y(at) + 4, tick(at), text_anchor="end") for at in y.ticks(4)]
    parts += [text(x(i), HEIGHT - 22, f"{count:g}", text_anchor="middle") for i, count in enumerate(counts)]
    parts += [text(50, HEIGHT - 4, "groups"), text(4, 10, unit)]
    at = [(x(counts.index(count)), y(factor * value.value)) for count, _, value in points]
    for (_, name, value), (across, up) in zip(points, at, strict=True):
        bar = line(
            across, y(factor * value.low), across, y(factor * value.high), stroke="var(--accent)", stroke_width=2
        )
        dot = marker(0, across, up, 5, fill="var(--accent)")
        parts.append(element("g", bar + dot, data_tip=f"{name}: {_written(value, factor)} {unit}"))
    said = "; ".join(f"{count:g} groups {_written(value, factor)}" for count, _, value in points)
    alt = f"{title}, {unit}: {said}."
    return Figure(metric.replace(".", "_"), alt, title, svg(WIDTH, HEIGHT, "".join(parts), alt))


def _lowest(study: Study) -> float | None:
    ends = [study.metrics.get(name) for name in ("gain.low", "gain.tasks_low")]
    return min((end for end in ends if end is not None), default=None)


def _base(name: str) -> str:
    stem, _, end = name.rpartition(".")
    return stem if end in ("mean", "low", "high", "tasks_low", "tasks_high") else name


def _cell(study: Study, base: str) -> Cell:
    value = study.value(base)
    if value is None or value.low == value.high:
        return figure(value and value.value, lambda shown: f"{shown:.4g}")
    return interval(value, lambda shown: number(shown, 1), tone="shown" if value.low > 0 or value.high < 0 else "")


def _written(value: Interval, factor: float) -> str:
    mean, low, high = (number(factor * end, 2) for end in (value.value, value.low, value.high))
    return mean if low == high else f"{mean} [{low}, {high}]"
