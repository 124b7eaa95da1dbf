"""Real benchmark files and a model that others trained: samples and evaluation of a handful of items of each kind.

The files stand in `../shared/real` beside a checkout of the developers; they are not part of this repository, and
without them these tests are skipped. A model of 260,000 parameters knows nothing: what is tested is that the files load
and that scores, likelihoods and bookkeeping are right.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pipeline.config import params
from pipeline.storage.schemas import RESULTS, SAMPLE_COUNTS, SAMPLES
from stages import evaluate, manifest, prepare
from stages.inputs import paths
from tests.settings import full as full_settings
from wina_amp.models.load import load

REAL = Path(__file__).resolve().parents[3] / "shared" / "real"
pytestmark = pytest.mark.skipif(not REAL.is_dir(), reason=f"no real models and data at {REAL}")

MODEL = REAL / "models" / "stories260K-llama"
SUBJECTS = ("anatomy", "virology")
ROUNDING = 1e-3
"""Nats over some 200 tokens; float32 logits of another batch."""


def _put(folder: Path, name: str, rows: Iterator[dict[str, Any]]) -> None:
    (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    return (json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip())


def _mmlu() -> Iterator[dict[str, Any]]:
    for split, folder in (("train", "dev"), ("test", "test")):
        for subject in SUBJECTS:
            path = REAL / "data" / "mmlu" / folder / f"{subject}_{folder}.csv"
            for row in csv.DictReader(path.read_text(encoding="utf-8").splitlines(keepends=True)):
                options = "".join(f"\n{letter}. {row[f'choice{i}']}" for i, letter in enumerate("ABCD"))
                prompt = f"{row['question'].strip()}{options}\nAnswer:"
                target = int(row["answer"])
                yield {"prompt": prompt, "choices": [*"ABCD"], "target": target, "subject": subject, "split": split}


def _gsm8k() -> Iterator[dict[str, Any]]:
    for split in ("train", "test"):
        for row in _lines(REAL / "data" / "gsm8k" / f"{split}.jsonl"):
            answer = row["answer"].split("####")[1]
            yield {"prompt": row["question"], "answer": answer, "split": split, "max_tokens": 8}


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> params.Settings:
    """Local files of every layout in a temporary folder, which is the current one."""
    monkeypatch.chdir(tmp_path)
    folder, data = tmp_path / "tasks", REAL / "data"
    folder.mkdir()
    arc = _lines(data / "arc" / "llm-foundry" / "arc_easy.jsonl")
    _put(folder, "arc", ({"prompt": r["query"], "choices": r["choices"], "target": r["gold"]} for r in arc))
    _put(folder, "mmlu", _mmlu())
    _put(folder, "gsm8k", _gsm8k())
    alpaca = json.loads((data / "alpaca" / "alpaca_data.json").read_text(encoding="utf-8"))
    _put(folder, "alpaca", ({**row, "split": "train"} for row in alpaca))
    (folder / "wikitext.txt").write_bytes((data / "wikitext-2" / "test.txt").read_bytes())
    (folder / "stories.txt").write_bytes((data / "tinystories" / "minigpt_tinystories.txt").read_bytes())
    full = full_settings()
    benchmark = replace(
        full.benchmark,
        include=str(folder),
        tasks=("arc", "mmlu", "gsm8k", "wikitext", "stories"),
        calibration=("alpaca", "wikitext"),
        train_samples=4,
        test_samples=6,
        too_long="leave_out",
        num_fewshot=1,
    )
    model = replace(full.model, path=str(MODEL), device="cpu")
    return replace(full, model=model, benchmark=benchmark)


def test_files_of_every_layout_are_prepared_and_evaluated(settings: params.Settings):
    manifest.main(settings)
    prepare.main(settings)
    samples = SAMPLES.read(paths.SAMPLES)
    counts = SAMPLE_COUNTS.read(paths.SAMPLE_COUNTS).set_index(["task", "split"])
    assert set(samples["task"][samples["split"] == "train"]) == {"alpaca", "wikitext"}
    assert (counts["taken"] == counts["wanted"]).all()
    assert counts["too_long"]["alpaca", "train"] > 0
    assert set(samples["subject"][samples["task"] == "mmlu"]) <= set(SUBJECTS)
    evaluate.main(settings, "dense")
    results = RESULTS.read(paths.results("dense")).set_index("sample_id").loc[samples["sample_id"]]
    is_text = (samples["kind"] == "text").to_numpy()
    assert results["score"].isna().tolist() == is_text.tolist()
    assert np.isfinite(results["loglikelihood"][samples["kind"].to_numpy() != "generation"]).all()
    # The model has read stories and nothing else.
    assert 3 * _perplexity(samples, results, "stories") < _perplexity(samples, results, "wikitext")
    _check_one_window(samples[samples["task"] == "stories"].iloc[0], results)


def _perplexity(samples: Any, results: Any, task: str) -> float:
    mine = (samples["task"] == task).to_numpy()
    return float(np.exp(-results["loglikelihood"][mine].sum() / samples["answer_ids"][mine].map(len).sum()))


def _check_one_window(sample: Any, results: Any) -> None:
    """The log-likelihood of a window, from the model's logits and nothing else of ours."""
    model = load(MODEL, revision=None, dtype="float32", device="cpu").model
    ids = torch.tensor([[*sample["prompt_ids"], *sample["answer_ids"]]])
    start = len(sample["prompt_ids"])
    with torch.inference_mode():
        logs = model(ids).logits.log_softmax(-1)[0, start - 1 : -1]
    expected = float(logs[torch.arange(len(logs)), ids[0, start:]].double().sum())
    assert results["loglikelihood"][sample["sample_id"]] == pytest.approx(expected, abs=ROUNDING)
