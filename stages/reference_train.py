"""reference_train: train the embedded reference model from scratch -> data/reference/build.

Takes over an hour on one CPU core. The whole state is saved every few minutes in the scratch folder, so an interrupted
run goes on where it was and ends with the same weights.
"""

from __future__ import annotations

import csv
import logging
from dataclasses import asdict, fields
from pathlib import Path

import torch
from tqdm import tqdm

from pipeline.config.params import Settings
from pipeline.reference_model import recipe as recipes
from pipeline.reference_model import training
from pipeline.reference_model.card import machine
from pipeline.storage.parts import Parts
from pipeline.tasks.embedded import tokenizer as tokenizers
from stages.inputs import paths
from stages.inputs.fingerprint import Fingerprint

BUILD = Path(paths.REFERENCE_BUILD)
LOG = "log.csv"

log = logging.getLogger("stages.reference_train")


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
        lines = _Lines(scratch)

        def report(line: training.Progress) -> None:
            lines.add(line)
            progress.update(line.tokens - progress.n)
            progress.set_postfix(loss=f"{line.loss:.3f}")

        training.train(model, tokenizer, reference.recipe, reference.phases, report, scratch)
        model.to(torch.device("cpu"))  # pyright: ignore[reportArgumentType]
        model.save_pretrained(BUILD / "model")
        tokenizer.save_pretrained(BUILD / "model")
        lines.publish(BUILD / LOG)
        (BUILD / "machine.txt").write_text(f"{machine()}, torch {torch.__version__}, {device}\n", encoding="utf-8")
        scratch.clear()


class _Lines:
    """The training log. Lines of steps that a resumed run repeats replace the old ones."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._by_step: dict[int, dict[str, object]] = {}
        if parts.has(LOG):
            with parts.path(LOG).open(newline="") as file:
                self._by_step = {int(row["step"]): dict(row) for row in csv.DictReader(file)}
        else:
            parts.clear()  # a checkpoint without the lines before it

    def add(self, line: training.Progress) -> None:
        values = asdict(line)
        self._by_step = {step: row for step, row in self._by_step.items() if step < line.step}
        self._by_step[line.step] = {
            name: round(value, 6) if isinstance(value, float) else value for name, value in values.items()
        }
        with self._parts.writing(LOG) as path:
            self.publish(path)

    def publish(self, path: Path) -> None:
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, [field.name for field in fields(training.Progress)])
            writer.writeheader()
            writer.writerows(self._by_step.values())
