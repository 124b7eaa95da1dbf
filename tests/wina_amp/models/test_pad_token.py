"""Many checkpoints (Llama 2 and 3) have no padding token: nothing here may need one, or notice."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd

from pipeline.evaluate.method import evaluate
from pipeline.tasks.loading import load_tasks
from pipeline.tasks.samples import sample_rows
from wina_amp.models.load import LoadedModel, load


def test_without_a_padding_token_samples_and_results_are_the_same(
    tiny_llama: Path, tiny_loaded: LoadedModel, tiny_tasks: Path, tmp_path: Path
):
    folder = Path(shutil.copytree(tiny_llama, tmp_path / "model"))
    for name in ("tokenizer_config.json", "config.json", "generation_config.json"):
        values = json.loads((folder / name).read_text())
        (folder / name).write_text(json.dumps({key: value for key, value in values.items() if "pad" not in key}))
    bare = load(folder, revision=None, dtype="float32", device="cpu")
    assert bare.tokenizer.pad_token is None and bare.model.config.pad_token_id is None
    results = [_evaluated(loaded, tiny_tasks) for loaded in (bare, tiny_loaded)]
    pd.testing.assert_frame_equal(*results, check_exact=True)


def _evaluated(loaded: LoadedModel, tiny_tasks: Path) -> pd.DataFrame:
    views = [by_split["test"] for by_split in load_tasks(tiny_tasks, ["pick", "write"]).values()]
    rows = [row for view in views for row in sample_rows(view, [0, 2, 5, 7], loaded.tokenizer, loaded.context)]
    samples = pd.DataFrame(rows).assign(group=0)
    results = evaluate(loaded, views, samples, None, dense_prefix=1, batch_tokens=60)
    return results.assign(prompt=[tuple(ids) for ids in samples["prompt_ids"]])
