"""Report folder, metrics.json and plot data as files, each written whole or not at all."""

from __future__ import annotations

import json
from pathlib import Path

from pipeline.report.analysis.evidence import Evidence
from pipeline.report.analysis.findings import find
from pipeline.report.analysis.plan import Plan
from pipeline.report.exports.metrics import DECIMALS
from pipeline.report.exports.metrics import metrics as flat_metrics
from pipeline.report.exports.plots import plot_tables
from pipeline.report.page.page import render
from wina_amp.atomic import replacing


def write_report(plan: Plan, evidence: Evidence, *, report: Path, metrics: Path, plots: Path) -> None:
    """Write `report`/report.html with its figures and tables as files, the file `metrics` and the folder `plots`.

    Guarantee: equal tables and plan give equal bytes.

    Raises:
        UserError: tables that do not fit the plan or each other, or a disk that cannot be written.
    """
    findings = find(plan, evidence)
    html, files = render(plan, evidence, findings)
    with replacing(report) as temporary:
        for name, text in {"report.html": html, **files}.items():
            (temporary / name).parent.mkdir(parents=True, exist_ok=True)
            (temporary / name).write_text(text, encoding="utf-8")
    with replacing(metrics) as temporary:
        temporary.write_text(json.dumps(flat_metrics(plan, findings), indent=2) + "\n")
    with replacing(plots) as temporary:
        temporary.mkdir()
        for name, rows in plot_tables(findings).items():
            rows.round(DECIMALS).to_csv(temporary / f"{name}.csv", index=False, lineterminator="\n")
