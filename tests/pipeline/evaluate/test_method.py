"""`pipeline.evaluate.method`: lm-eval's own scores, every sample once, equal batches for every method."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from lm_eval import evaluator
from lm_eval.models.huggingface import HFLM

from pipeline.evaluate.method import evaluate, shape_of
from pipeline.profiles.profile import Profiles
from pipeline.storage.schemas import RESULTS
from pipeline.tasks.loading import TaskView, load_tasks
from pipeline.tasks.samples import sample_rows
from tests.wina_amp.tokens.memory import room_for
from wina_amp.errors import UserError
from wina_amp.models.load import LoadedModel

ROUNDING = 1e-4
"""Nats; float32 sums in another order (see test_choices)."""

THRESHOLDS = torch.rand(3, 2, 7, generator=torch.Generator().manual_seed(9)).numpy()
OPTIONS = {"dense_prefix": 1, "batch_tokens": 200}


@pytest.fixture(scope="module")
def views(tiny_tasks: Path) -> list[TaskView]:
    return [view for views in load_tasks(tiny_tasks, ["pick", "shown", "write"]).values() for view in views.values()]


@pytest.fixture(scope="module")
def samples(views: list[TaskView], tiny_loaded: LoadedModel) -> pd.DataFrame:
    rows = [row for view in views for row in sample_rows(view, range(1, 13), tiny_loaded.tokenizer, 128)]
    return pd.DataFrame(rows).assign(group=[number % 3 for number in range(len(rows))])


def test_dense_scores_and_log_likelihoods_equal_lm_evals_own_model(
    views: list[TaskView], samples: pd.DataFrame, tiny_loaded: LoadedModel
):
    results = evaluate(tiny_loaded, views, samples, None, **OPTIONS).set_index("sample_id")
    for view in views:
        view.task.set_fewshot_seed(1234)  # as lm-eval's command line does
    theirs = evaluator.evaluate(
        lm=HFLM(pretrained=tiny_loaded.model, tokenizer=tiny_loaded.tokenizer, device="cpu", batch_size=1),
        task_dict={"tasks": {view.key: view.task for view in views}},
        bootstrap_iters=0,
    )["samples"]
    targets = samples.set_index("sample_id")["target"]
    for key, records in theirs.items():
        assert len(records) == 14 and len(results[results.index.str.startswith(key)]) == 12
        for record in records[1:13]:
            row = results.loc[f"{key}/{record['doc_id']}"]
            assert row["score"] == record["exact_match" if key.startswith("write") else "acc"]
            if not key.startswith("write"):
                values = [value for value, _ in record["filtered_resps"]]
                right = values.pop(targets[f"{key}/{record['doc_id']}"])
                assert row["loglikelihood"] == pytest.approx(right, abs=ROUNDING)
                assert row["margin"] == pytest.approx(right - max(values), abs=ROUNDING)


def test_rows_are_a_valid_table_for_dense_and_masked_runs(
    views: list[TaskView], samples: pd.DataFrame, tiny_loaded: LoadedModel, tmp_path: Path
):
    dense = evaluate(tiny_loaded, views, samples, None, **OPTIONS)
    masked = evaluate(tiny_loaded, views, samples, Profiles("wina", THRESHOLDS), router_flops=7.0, **OPTIONS)
    for method, target, rows in (("dense", 0.0, dense), ("sparse", 0.4, masked)):
        RESULTS.write(rows.assign(method=method, target=target), tmp_path / f"{method}.parquet")
    assert masked["sample_id"].tolist() == samples["sample_id"].tolist()
    assert masked["group"].tolist() == samples["group"].tolist()
    assert (dense["flops"] == dense["dense_flops"]).all() and not dense["realised_sparsity"].any()
    assert masked["realised_sparsity"].between(0.05, 0.95).all()
    by_block = np.stack(masked["sparsity_by_block"].tolist())
    assert by_block.shape == (len(samples), 2)
    np.testing.assert_allclose(by_block.mean(axis=1), masked["realised_sparsity"], rtol=1e-6)
    is_choice = samples["kind"] == "choice"
    assert (masked["flops"] < masked["dense_flops"])[is_choice].all()
    assert (masked["dense_flops"] == dense["dense_flops"])[is_choice].all()
    assert dense["loglikelihood"].isna().tolist() == (~is_choice).tolist()


def test_thresholds_of_zero_give_the_dense_results_exactly(
    views: list[TaskView], samples: pd.DataFrame, tiny_loaded: LoadedModel
):
    dense = evaluate(tiny_loaded, views, samples, None, **OPTIONS)
    zero = evaluate(tiny_loaded, views, samples, Profiles("wina", np.zeros((3, 2, 7), np.float32)), **OPTIONS)
    # Features that are exactly zero are counted as masked, so the count may differ; what the model says may not.
    counted = ["flops", "realised_sparsity", "sparsity_by_block"]
    pd.testing.assert_frame_equal(dense.drop(columns=counted), zero.drop(columns=counted), check_exact=True)


def test_topk_realises_the_sparsity_of_every_projection_to_one_feature_for_every_sample(
    views: list[TaskView], samples: pd.DataFrame, tiny_loaded: LoadedModel
):
    sparsity = torch.rand(3, 2, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(4)).numpy()
    results = evaluate(tiny_loaded, views, samples, Profiles("wina", sparsity, "topk"), **OPTIONS)
    shape = shape_of(tiny_loaded, "wina")
    inputs, outputs = np.array(shape.features), np.array(shape.gated)
    zeroed = np.ceil(inputs * sparsity.reshape(3, -1)) @ outputs / (inputs @ outputs)
    np.testing.assert_allclose(results["realised_sparsity"], zeroed[samples["group"]], rtol=0, atol=1e-12)


def test_a_samples_result_depends_on_its_own_group_only(
    views: list[TaskView], samples: pd.DataFrame, tiny_loaded: LoadedModel
):
    profiles = Profiles("wina", THRESHOLDS)
    mixed = evaluate(tiny_loaded, views, samples, profiles, **OPTIONS)
    for group in range(3):
        alone = evaluate(tiny_loaded, views, samples.assign(group=group), profiles, **OPTIONS)
        chosen = samples["group"] == group
        pd.testing.assert_frame_equal(mixed[chosen], alone[chosen], check_exact=True)


def test_two_runs_are_identical_and_the_batch_size_hardly_matters(
    views: list[TaskView], samples: pd.DataFrame, tiny_loaded: LoadedModel
):
    profiles = Profiles("teal", THRESHOLDS)
    first = evaluate(tiny_loaded, views, samples, profiles, **OPTIONS)
    pd.testing.assert_frame_equal(first, evaluate(tiny_loaded, views, samples, profiles, **OPTIONS), check_exact=True)
    other = evaluate(tiny_loaded, views, samples, profiles, dense_prefix=1, batch_tokens=10**6)
    assert np.allclose(first["loglikelihood"], other["loglikelihood"], rtol=0, atol=ROUNDING, equal_nan=True)
    assert first["score"].tolist() == other["score"].tolist()


@pytest.mark.tried("memory", "warned")
@pytest.mark.parametrize("most", [1, 3])
@pytest.mark.parametrize("is_sparse", [True, False])
def test_batches_that_do_not_fit_into_memory_give_the_results_of_smaller_ones(
    views: list[TaskView], samples: pd.DataFrame, tiny_loaded: LoadedModel, most: int, is_sparse: bool
):
    profiles = Profiles("teal", THRESHOLDS) if is_sparse else None
    whole = evaluate(tiny_loaded, views, samples, profiles, dense_prefix=1, batch_tokens=10**6)
    with room_for(tiny_loaded, most):
        halves = evaluate(tiny_loaded, views, samples, profiles, dense_prefix=1, batch_tokens=10**6)
    assert np.allclose(whole["loglikelihood"], halves["loglikelihood"], rtol=0, atol=ROUNDING, equal_nan=True)
    for column in ("score", "dense_flops", "group"):
        assert whole[column].tolist() == halves[column].tolist()
    assert np.allclose(whole["flops"], halves["flops"], rtol=ROUNDING)
    with room_for(tiny_loaded, 0), pytest.raises(UserError, match="single sample must fit into memory"):
        evaluate(tiny_loaded, views, samples, profiles, dense_prefix=1, batch_tokens=10**6)


def test_only_the_given_samples_are_evaluated_and_progress_is_reported(
    views: list[TaskView], samples: pd.DataFrame, tiny_loaded: LoadedModel
):
    few = samples[samples["split"] == "test"].iloc[::3]
    advanced: list[int] = []
    results = evaluate(tiny_loaded, views, few, None, advance=advanced.append, **OPTIONS)
    assert results["sample_id"].tolist() == few["sample_id"].tolist()
    assert sum(advanced) == sum(max(1, len(choices)) for choices in few["choices"])


def test_documents_that_changed_since_prepare_are_refused(
    views: list[TaskView], samples: pd.DataFrame, tiny_loaded: LoadedModel
):
    stale = samples.assign(doc_hash="0" * 64)
    with pytest.raises(UserError, match=r"must be in the table of samples.*dvc repro --force --single-item prepare"):
        evaluate(tiny_loaded, views, stale, None, **OPTIONS)


@pytest.mark.tried("volatile", "refused")
@pytest.mark.parametrize(
    ("kind", "column"),
    [
        pytest.param("choice", "prompt", id="another prompt in front of choices"),
        pytest.param("choice", "choices", id="other choices"),
        pytest.param("generation", "prompt", id="another prompt of a generation"),
    ],
)
def test_prompts_that_are_not_those_of_the_table_are_refused(
    views: list[TaskView], samples: pd.DataFrame, tiny_loaded: LoadedModel, kind: str, column: str
):
    changed = samples[samples["kind"] == kind].head(3).reset_index(drop=True)
    changed.at[1, column] = ["w1"] if column == "choices" else "2024 " + changed.at[1, column]
    message = rf"must ask what `prepare` has asked\. Found: '.*', which was '.*sample {changed.at[1, 'sample_id']}"
    with pytest.raises(UserError, match=message + r"\..*PYTHONHASHSEED=0"):
        evaluate(tiny_loaded, views, changed, None, **OPTIONS)


def test_the_shape_is_read_off_the_model(tiny_loaded: LoadedModel):
    shape = shape_of(tiny_loaded, "wina")
    assert shape.features == (32, 32, 32, 32, 32, 32, 48) * 2
    assert shape.gated == (32, 16, 16, 32, 48, 48, 32) * 2
    assert shape.weights == np.dot(shape.features, shape.gated)
    cats = shape_of(tiny_loaded, "cats")
    assert (cats.features, cats.gated, cats.weights) == (
        (48, 48),
        (64, 64),
        shape.weights,
    )
    assert shape_of(tiny_loaded, None).features == ()
    assert (shape.blocks, shape.queries, shape.hidden, shape.vocabulary) == (2, 4 * 8, 32, 64)


@pytest.mark.tried("tokens", "right")
@pytest.mark.parametrize("copies", [pytest.param(3, id="the same choice three times")])
def test_equal_choices_have_equal_likelihoods_and_the_first_is_taken(
    tiny_loaded: LoadedModel, tmp_path: Path, copies: int
):
    choices = ["w1", *["w2 w3 w4"] * copies, "w5"]
    rows = [{"prompt": f"w{number}", "choices": choices, "target": 1} for number in range(8)]
    (tmp_path / "twice.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    view = load_tasks(tmp_path, ["twice"])["twice"]["test"]
    samples = pd.DataFrame(sample_rows(view, range(8), tiny_loaded.tokenizer, 128)).assign(group=0)
    results = evaluate(tiny_loaded, [view], samples, Profiles("wina", THRESHOLDS), **OPTIONS)
    last = evaluate(tiny_loaded, [view], samples.assign(target=copies), Profiles("wina", THRESHOLDS), **OPTIONS)
    assert results["loglikelihood"].tolist() == last["loglikelihood"].tolist()
    assert ((results["margin"] <= 0) & ((results["margin"] == 0) == (results["score"] == 1))).all()
