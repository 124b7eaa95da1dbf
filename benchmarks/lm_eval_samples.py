"""lm-eval's scores of an exported profile set beside those that the study measured, sample by sample.

    python -m benchmarks.lm_eval_samples                              # after `make repro`: some minutes
    python -m benchmarks.lm_eval_samples --set clustered_routed --target 0.65 --samples 20

The test samples of the table `results` are asked again by lm-eval's own `simple_evaluate`, on its own reading of the
task files, of a plain model of transformers with the exported set on it (`wina_amp/harness.py`): other batches, another
way to generate, routed by the exported router. Compared are scores, log-likelihoods of the right choices and realised
sparsity; both sides are timed by nobody.
"""

from __future__ import annotations

import argparse
from typing import Any

import lm_eval
import numpy as np
import pandas as pd
import torch
from lm_eval.tasks import TaskManager

from pipeline.storage.schemas import RESULTS, SAMPLES
from stages.inputs import paths
from wina_amp.harness import SparseLM

ROUNDING = 1e-4
"""Nats; see tests/pipeline/evaluate/test_choices.py."""


def main() -> None:
    """Print how many samples agree."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--set", default="clustered_routed", help="method whose set is tried")
    parser.add_argument("--target", type=float, default=0.65)
    parser.add_argument("--samples", type=int, help="at most so many of every task")
    options = parser.parse_args()
    torch.set_num_threads(1)
    samples: Any = SAMPLES.read(paths.SAMPLES)
    results: Any = RESULTS.read(paths.results(options.set)).query("target == @options.target and split == 'test'")
    table = samples.merge(results, on=["sample_id", "split"]).sort_values("doc_id")
    table = table.groupby("task").head(options.samples or len(table))
    model: Any = SparseLM(
        pretrained=str(paths.REFERENCE_MODEL),
        profile_set=str(paths.profile_set(options.set)),
        sparsity=options.target,
        device="cpu",
        dtype="float32",
    )
    now = asked_again(model, table)
    both = table.set_index("sample_id").join(now, rsuffix="_now")
    difference = (both["loglikelihood_now"] - both["loglikelihood"]).abs()
    is_choice = both["kind"] == "choice"
    print(f"scored as in `results`: {int((both['score_now'] == both['score']).sum())} of {len(both)}")
    print(
        f"log-likelihoods of the right choices: {int((difference[is_choice] <= ROUNDING).sum())} of "
        f"{int(is_choice.sum())} within {ROUNDING:g} nats, at most {difference.max():.1e} apart"
    )
    names = [group.name for group in model.sparse.profiles.description.groups]
    print(f"prompts by group: {dict(model.groups)}; in `results` {_by_name(table['group'], names)}")
    print(f"realised sparsity: {model.realised_sparsity}; in `results`, mean of samples {_by_kind(table)}")


def asked_again(model: SparseLM, table: pd.DataFrame) -> pd.DataFrame:
    """Score and log-likelihood of the right choice of every sample, by `sample_id`, as lm-eval finds them.

    Args:
        model: with a profile set.
        table: rows of the table `samples`, of the split that lm-eval evaluates.
    """
    asked = {str(task): sorted(map(int, rows)) for task, rows in table.groupby("task")["doc_id"]}
    run: Any = lm_eval.simple_evaluate
    manager: Any = TaskManager(include_path=str(paths.BENCHMARK), include_defaults=False)
    logged = run(model, tasks=list(asked), samples=asked, task_manager=manager, log_samples=True, bootstrap_iters=0)
    rows: list[dict[str, Any]] = []
    for task, records in logged["samples"].items():
        for record in records:
            is_choice = "acc" in record
            likelihood = record["filtered_resps"][record["doc"]["target"]][0] if is_choice else np.nan
            score = float(record["acc" if is_choice else "exact_match"])
            name = f"{task}/test/{record['doc_id']}"
            rows.append({"sample_id": name, "score": score, "loglikelihood": likelihood})
    return pd.DataFrame(rows).set_index("sample_id")


def _by_name(groups: pd.Series, names: list[str]) -> dict[str, int]:
    return {names[int(group)]: int(count) for group, count in groups.value_counts().items()}


def _by_kind(table: pd.DataFrame) -> dict[str, float]:
    return {str(kind): float(value) for kind, value in table.groupby("kind")["realised_sparsity"].mean().items()}


if __name__ == "__main__":
    main()
