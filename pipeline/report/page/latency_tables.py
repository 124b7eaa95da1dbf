"""RQ4's tables of measured times."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.report.analysis.latency import Cell as Timed
from pipeline.report.analysis.latency import Timing
from pipeline.report.analysis.plan import Plan
from pipeline.report.page.cells import NONE, figure, interval, percentage, plain, sign_tone
from pipeline.report.page.profile_tables import target_columns
from pipeline.report.page.table import Cell, Column, Row, Table
from pipeline.report.text.wording import target_name
from pipeline.statistics.bootstrap import Interval


def speedup_table(plan: Plan, cell: Timed) -> Table:
    """Speed-ups at one batch and context: a row a method, a column a target."""
    dense = cell.dense_ms
    timed = {(timing.method.name, timing.target): timing for timing in cell.timings}
    rows = [
        Row(name, [_speedup_cell(timed.get((name, target))) for target in plan.targets])
        for name in dict.fromkeys(name for name, _ in timed)
    ]
    caption = (
        f"Speed-up over dense at batch {cell.batch}, context {cell.context:,}; dense ({cell.dense_way}) "
        f"{dense.value:.3g} ms a token, {dense.low:.3g} to {dense.high:.3g} beside different methods"
    )
    note = "Median over rounds with quartiles, routing included. Bold: three of four rounds were faster, or slower."
    return Table(caption, "method", target_columns(plan), rows, note)


def timing_table(cells: Sequence[Timed]) -> Table:
    """Every timing."""
    rows = [
        Row(timing.method.name, [
            plain(target_name(timing.target)), plain(cell.batch), plain(cell.context), figure(row.ms_per_token, _ms),
            interval(Interval(row.step_ms, row.step_ms_low, row.step_ms_high), _ms), figure(row.router_ms, _ms),
            figure(row.tokens_per_second, _ms), figure(row.dense_ms, _ms), figure(row.skipped, percentage),
            figure(timing.moved, percentage), figure(row.kernel_gb_per_second, _ms),
            figure(row.copy_gb_per_second, _ms), figure(row.load, _ms),
        ])
        for cell in cells
        for timing in cell.timings
        for row in [timing.row]
    ]  # fmt: skip
    titles = ("target", "batch", "context", "ms a token", "ms a step", "ms to route", "tokens a second", "dense, ms",
              "weights skipped, %", "bytes read, %", "kernels, GB/s", "copy, GB/s", "load")  # fmt: skip
    return Table("Every timing", "method", [*map(Column, titles)], rows)


def _speedup_cell(timing: Timing | None) -> Cell:
    if timing is None:
        return Cell(NONE)
    return interval(timing.speedup, lambda value: f"{value:.2f}", tone=sign_tone(timing.speedup, 1, null=1.0))


def _ms(value: float) -> str:
    return f"{value:.3g}"
