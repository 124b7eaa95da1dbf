"""Formatting of numbers and lists: accuracies in percent, differences in percentage points with their interval.

One place, so that a number in a sentence, a table and a figure label cannot be rounded in three ways. Differences and
intervals have one decimal: with a few thousand items the interval is wider than a tenth of a point.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pipeline.report.analysis.plan import Method
from pipeline.statistics.bootstrap import Interval

MINUS = "\N{MINUS SIGN}"
THIN = "\N{NARROW NO-BREAK SPACE}"


def percent(fraction: float, decimals: int = 1) -> str:
    """0.934 -> "93.4%"."""
    return f"{number(100 * fraction, decimals)}%"


def percent_interval(interval: Interval) -> str:
    """ "93.4% [92.1, 94.6]"."""
    return f"{percent(interval.value)} [{number(100 * interval.low, 1)}, {number(100 * interval.high, 1)}]"


def points(difference: float) -> str:
    """A difference of fractions in percentage points with its sign: 0.013 -> "+1.3"; zero has no sign."""
    text = f"{100 * abs(difference):.1f}"
    if float(text) == 0:
        return text
    return (MINUS if difference < 0 else "+") + text


def points_interval(interval: Interval) -> str:
    """ "+1.3 [0.4, 2.2]"."""
    low, high = (points(end).removeprefix("+") for end in (interval.low, interval.high))
    return f"{points(interval.value)} [{low}, {high}]"


def number(value: float, decimals: int = 2) -> str:
    """A plain number with a real minus sign."""
    text = f"{abs(value):.{decimals}f}"
    return text if value >= 0 or float(text) == 0 else MINUS + text


def number_interval(interval: Interval) -> str:
    """ "0.41 [0.38, 0.44]"."""
    return f"{number(interval.value)} [{number(interval.low)}, {number(interval.high)}]"


def quantity(value: float) -> str:
    """A count with an SI suffix and three digits: 48000 -> "48.0 k"."""
    for limit, suffix in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= limit:
            return f"{value / limit:.3g}{THIN}{suffix}"
    return f"{value:.3g}"


def p_value(p: float) -> str:
    """A p-value with two digits: 0.0123 -> "0.012"; "<0.001" below that."""
    return "<0.001" if p < 0.001 else f"{p:.3f}" if p < 0.1 else f"{p:.2f}"


def p_equals(p: float) -> str:
    """ "p = 0.012", or "p < 0.001"."""
    text = p_value(p)
    return f"p < {text[1:]}" if text.startswith("<") else f"p = {text}"


def target_name(target: float) -> str:
    """A target sparsity as a percentage without needless digits: 0.65 -> "65%"."""
    return f"{100 * target:g}%"


def remaining_compute(saving: float) -> str:
    """The fraction of dense FLOPs that remains at a saving: 0.43 -> "57%"."""
    return percent(1 - saving, 0)


def compute_range(savings: Sequence[float | None]) -> str:
    """The dense FLOPs that remain at the savings of a comparison: "94 to 24%", or "57%" if there is one saving."""
    known = [saving for saving in savings if saving is not None]
    most, least = remaining_compute(min(known)), remaining_compute(max(known))
    return least if most == least else f"{most.removesuffix('%')} to {least}"


def listed(items: list[str]) -> str:
    """["a", "b", "c"] -> "a, b and c"."""
    return items[0] if len(items) == 1 else ", ".join(items[:-1]) + " and " + items[-1]


def method_names(methods: Iterable[Method]) -> str:
    """ "`a`, `b` and `c`"; the page shows names in backticks as code."""
    return listed([f"`{method.name}`" for method in methods])


def target_names(targets: Iterable[float]) -> str:
    """ "25%, 40% and 50%"."""
    return listed([target_name(target) for target in targets])


def target_range(targets: Sequence[float]) -> str:
    """Ascending targets as "50 to 65%", or "50%" if there is one."""
    last = target_name(targets[-1])
    return last if len(targets) == 1 else f"{target_name(targets[0]).removesuffix('%')} to {last}"
