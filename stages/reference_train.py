"""reference_train: train the embedded reference model from scratch -> data/reference/build.

Takes over an hour on one CPU core. The whole state is saved every few minutes in the scratch folder, so an interrupted
run goes on where it was and ends with the same weights.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import torch
from tqdm import tqdm

from pipeline.config.params import Settings
from pipeline.reference_model import recipe as recipes
from pipeline.reference_model import training
from pipeline.reference_model.card import machine
from pipeline.tasks.embedded import tokenizer as tokenizers
from stages.inputs import paths
from stages.inputs.fingerprint import Fingerprint

BUILD = Path(paths.REFERENCE_BUILD)


def main(settings: Settings) -> None:
    """Read the recipe, write `model/`, `log.csv` and `machine.txt`."""
    reference = recipes.load(paths.REFERENCE_PARAMS)
    device = "cuda" if settings.model.device != "cpu" and torch.cuda.is_available() else "cpu"
    tokenizer = tokenizers.build(reference.architecture.context)
    model = training.build(reference.architecture, tokenizer, reference.recipe.seed)
    model.to(torch.device(device))  # pyright: ignore[reportArgumentType]
    BUILD.mkdir(parents=True, exist_ok=True)
    with (
        Fingerprint(settings, "reference_train").scratch() as scratch,
        tqdm(total=reference.phases[-1].until, unit="tok", unit_scale=True, desc="training") as progress,
    ):

        def report(line: training.Progress) -> None:
            progress.update(line.tokens - progress.n)
            progress.set_postfix(loss=f"{line.loss:.3f}")

        lines = training.train(model, tokenizer, reference.recipe, reference.phases, report, scratch)
        model.to(torch.device("cpu"))  # pyright: ignore[reportArgumentType]
        model.save_pretrained(BUILD / "model")
        tokenizer.save_pretrained(BUILD / "model")
        pd.DataFrame(lines).round(6).to_csv(BUILD / "log.csv", index=False, lineterminator="\r\n")
        (BUILD / "machine.txt").write_text(f"{machine()}, torch {torch.__version__}, {device}\n", encoding="utf-8")
        scratch.clear()
