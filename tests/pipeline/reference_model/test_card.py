"""The model card: its table against a count by hand, and the committed card against the committed weights."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline.config import params
from pipeline.reference_model import card, recipe

PUBLISHED = Path("data/reference")


def results_and_samples() -> tuple[pd.DataFrame, pd.DataFrame]:
    samples = pd.DataFrame(
        {
            "sample_id": [f"s{i}" for i in range(12)],
            "task": ["pick"] * 8 + ["write"] * 4,
            "kind": ["choice"] * 8 + ["generation"] * 4,
            "choices": [["a", "b", "c", "d"]] * 4 + [["a", "b"]] * 4 + [[]] * 4,
        }
    )
    scores = [1, 1, 1, 0, 1, 1, 1, 0, 1, 0, 0, 0]
    results = pd.DataFrame({"sample_id": samples["sample_id"], "score": np.array(scores, dtype=float)})
    return results.sample(frac=1, random_state=0), samples


def test_accuracy_and_chance_are_those_counted_by_hand() -> None:
    table = card.table(*results_and_samples(), {"pick": [1, 2], "write": [3]}, default=["pick"])
    pick, write = table.to_dict("records")
    assert (pick["accuracy"], write["accuracy"]) == (75.0, 25.0)
    assert (pick["chance"], write["chance"]) == (100 * (4 / 4 + 4 / 2) / 8, 0.0)
    assert pick["low"] < 75 < pick["high"] and (pick["is_default"], write["is_default"]) == (True, False)


def test_the_published_card_is_of_the_published_weights_and_settings() -> None:
    text = (PUBLISHED / "README.md").read_text()
    weights = (PUBLISHED / "model" / "model.safetensors").read_bytes()
    assert hashlib.sha256(weights).hexdigest() in text
    settings = recipe.load(PUBLISHED / "params.yaml")
    assert f"| batch_tokens | {settings.recipe.batch_tokens} |" in text
    assert all(f"| {phase.until:,} |" in text for phase in settings.phases)


def test_every_default_task_has_room_to_lose_and_something_to_lose() -> None:
    """What the benchmark was built for: dense accuracy between 75% and 99% on every default task, mean at least 88%."""
    rows = re.findall(
        r"^\| (\w+) \| (yes|no) \| (\w+) \| .* \| ([\d.]+)% \(", (PUBLISHED / "README.md").read_text(), re.MULTILINE
    )
    shown = {task: (kind, float(accuracy)) for task, default, kind, accuracy in rows if default == "yes"}
    assert set(shown) == set(params.load().benchmark.tasks)
    assert all(75 <= accuracy <= 99 for _, accuracy in shown.values())
    choices = [accuracy for kind, accuracy in shown.values() if kind == "choice"]
    assert len(choices) >= 10 and np.mean(choices) >= 88


@pytest.mark.parametrize("task", ["tracing", "tracking"])
def test_what_was_not_learned_is_shown_too(task: str) -> None:
    assert re.search(rf"^\| {task} \| no \| choice \|", (PUBLISHED / "README.md").read_text(), re.MULTILINE)
