"""reference_card: measure the reference model on the test split and write its card -> data/reference/build."""

from __future__ import annotations

import logging
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from pipeline.config.params import Settings
from pipeline.evaluate.method import evaluate
from pipeline.reference_model import card, recipe
from pipeline.tasks.loading import load_tasks
from pipeline.tasks.samples import sample_rows
from pipeline.tasks.selection import select_documents
from stages.inputs import paths
from wina_amp.models.load import load

DOCUMENTS = 240

BUILD = Path(paths.REFERENCE_BUILD)

log = logging.getLogger("stages.reference_card")


def main(settings: Settings) -> None:
    """Read the trained model, its log and the machine it was trained on; write `README.md`."""
    loaded = load(str(BUILD / "model"), revision=None, dtype="float32", device=settings.model.device)
    default = settings.benchmark.tasks
    others = sorted(path.stem for path in Path(paths.BENCHMARK).glob("*.yaml") if path.stem not in default)
    tasks = load_tasks(paths.BENCHMARK, (*default, *others))
    views = [by_split["test"] for by_split in tasks.values()]
    rows = [
        row
        for by_split in tasks.values()
        for row in sample_rows(
            by_split["test"],
            select_documents(by_split, {"train": 1, "test": DOCUMENTS})["test"].doc_ids,
            loaded.tokenizer,
            loaded.context,
        )
    ]
    samples = pd.DataFrame(rows).assign(group=0)
    with tqdm(total=sum(max(len(choices), 1) for choices in samples["choices"]), desc="evaluating") as bar:
        results = evaluate(
            loaded,
            views,
            samples,
            None,
            dense_prefix=settings.tokens.dense_prefix,
            batch_tokens=settings.tokens.batch,
            advance=bar.update,
        )
    levels = {view.name: view.task.config.dataset_kwargs["levels"] for view in views}
    accuracy = card.table(results, samples, levels, default)
    log.info("dense accuracy\n%s", accuracy.round(1).to_string(index=False))
    history = pd.read_csv(BUILD / "log.csv")
    text = card.render(
        recipe.load(paths.REFERENCE_PARAMS),
        history,
        accuracy,
        weights=BUILD / "model" / "model.safetensors",
        parameters=sum(weight.numel() for weight in loaded.model.parameters()),
        documents=DOCUMENTS,
        trained_on=(BUILD / "machine.txt").read_text(encoding="utf-8").strip(),
        evaluated_on=card.machine(),
    )
    (BUILD / "README.md").write_text(text, encoding="utf-8")
