"""Text and chat prompts against lm-eval's own Hugging Face model: the same prompts, tokens and log-likelihoods."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from lm_eval import evaluator
from lm_eval.models.huggingface import HFLM

from pipeline.evaluate.method import evaluate
from pipeline.storage.schemas import RESULTS
from pipeline.tasks.loading import load_tasks
from pipeline.tasks.samples import sample_rows
from pipeline.tasks.task_view import Prompting, TaskView
from pipeline.tasks.windows import Windows
from wina_amp.models.load import LoadedModel

ROUNDING = 1e-4
"""Nats; float32 sums in another order (see test_choices)."""
TEMPLATE = (
    "{{ bos_token }}{% for m in messages %} {{ 'w50' if m['role'] == 'user' else 'w51' }} {{ m['content'] }} w52\n"
    "{% endfor %}{% if add_generation_prompt %} w51\n{% endif %}"
)


@pytest.fixture(scope="module")
def chatty(tiny_loaded: LoadedModel) -> LoadedModel:
    tokenizer = copy.deepcopy(tiny_loaded.tokenizer)
    tokenizer.chat_template = TEMPLATE
    return replace(tiny_loaded, tokenizer=tokenizer)


@pytest.fixture(scope="module")
def views(tiny_tasks: Path, tmp_path_factory: pytest.TempPathFactory) -> list[TaskView]:
    """Choices, few-shot choices, generation and text, all but the text in a chat."""
    folder = tmp_path_factory.mktemp("tasks")
    for path in filter(Path.is_file, tiny_tasks.iterdir()):  # Python adds a folder when it reads the tasks
        (folder / path.name).write_text(path.read_text())
    words = np.random.default_rng(0).integers(0, 60, 400)
    (folder / "book.txt").write_text("\n".join(f"w{word}" for word in words))
    prompting = Prompting(is_chat=True, windows=Windows(5, 8))
    tasks = load_tasks(folder, ["pick", "shown", "write", "book"], prompting)
    return [by_split["test"] for by_split in tasks.values()]


@pytest.fixture(scope="module")
def samples(views: list[TaskView], chatty: LoadedModel) -> pd.DataFrame:
    rows = [row for view in views for row in sample_rows(view, range(1, 13), chatty.tokenizer, 128)]
    return pd.DataFrame(rows).assign(group=0)


def test_log_likelihoods_and_scores_equal_lm_evals_own_in_a_chat_and_on_text(
    views: list[TaskView], samples: pd.DataFrame, chatty: LoadedModel, tmp_path: Path
):
    results = evaluate(chatty, views, samples, None, dense_prefix=1, batch_tokens=200)
    RESULTS.write(results.assign(method="dense", target=0.0), tmp_path / "results.parquet")
    results = results.set_index("sample_id")
    theirs = evaluator.evaluate(
        lm=HFLM(pretrained=chatty.model, tokenizer=chatty.tokenizer, device="cpu", batch_size=1),
        task_dict={"tasks": {view.key: view.only(range(1, 13)) for view in views}},
        bootstrap_iters=0,
        apply_chat_template=True,
        fewshot_as_multiturn=True,
    )["samples"]
    known = samples.set_index("sample_id")
    for view in views:
        for record in theirs[view.key]:
            row = results.loc[f"{view.key}/{record['doc_id'] + 1}"]
            sample = known.loc[row.name]
            assert record["arguments"][max(sample["target"], 0)][0] == sample["prompt"]
            if view.kind == "text":
                assert row["loglikelihood"] == pytest.approx(record["filtered_resps"][0][0], abs=ROUNDING)
                assert np.isnan(row["score"]) and not row["correct"] and np.isnan(row["margin"])
            else:
                assert row["score"] == record[view.score]
            if view.kind == "choice":
                values = [value for value, _ in record["filtered_resps"]]
                assert row["loglikelihood"] == pytest.approx(values[sample["target"]], abs=ROUNDING)


def test_the_template_begins_a_prompt_once_and_leaves_text_alone(samples: pd.DataFrame, chatty: LoadedModel):
    for row in samples.itertuples():
        bos = chatty.tokenizer.bos_token_id
        assert list(row.prompt_ids).count(bos) == 1 and row.prompt_ids[0] == bos
        assert row.prompt.startswith("<bos>") == (row.kind != "text")
        if row.task == "shown":
            assert row.prompt.count("w50") >= 3  # two solved examples are messages of their own
    answers = samples[samples["kind"] == "generation"]["answer"]
    assert not answers.str.startswith(" ").any()
