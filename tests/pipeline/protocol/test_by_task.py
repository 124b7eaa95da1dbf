"""`pipeline.protocol.by_task`: accuracy or perplexity of every task, recomputed by hand."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from pipeline.protocol.by_task import by_task


def test_a_task_has_accuracy_or_perplexity_a_token_and_its_compute() -> None:
    samples = pd.DataFrame(
        {"sample_id": ["q/0", "q/1", "t/0", "t/1"], "task": ["q", "q", "t", "t"], "answer_ids": [[1], [2], [1, 2], [3]]}
    )
    rows = pd.DataFrame(
        {
            "sample_id": samples["sample_id"],
            "method": "wina",
            "target": 0.5,
            "score": [1.0, 0.0, np.nan, np.nan],
            "loglikelihood": [-1.0, -9.0, -4.0, -2.0],
            "realised_sparsity": [0.4, 0.6, 0.5, 0.5],
            "flops": [1.0, 3.0, 2.0, 2.0],
            "dense_flops": [2.0, 6.0, 8.0, 8.0],
        }
    )
    table = by_task(rows, samples).set_index("task")
    assert table.loc["q", ["samples", "accuracy", "sparsity", "compute"]].tolist() == [2, 50, 0.5, 0.5]
    assert table.loc["t", "perplexity"] == pytest.approx(math.exp(6 / 3)) and table.loc["t", "compute"] == 0.25
    assert math.isnan(table.loc["q", "perplexity"]) and math.isnan(table.loc["t", "accuracy"])
