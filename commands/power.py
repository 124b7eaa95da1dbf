"""power: how many items a comparison needs, or what so many can find. Not a DVC stage; reads tables, runs nothing.

    python -m commands.power --discordance 0.15 --difference 1
    python -m commands.power --method clustered_routed --baseline greedy --target 0.5
    python -m commands.power --losses greedy

The first takes the discordance of two methods as given, the second measures it on the development split of
`data/results`. Both count items of one fit; units and refits come on top (`pipeline/protocol/power.py`). The third says
what a pooled method loses on train samples, target by target: a question's target is where that is 1 to 3 points
(`evaluate.train_samples` says on how many).
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

import numpy as np

from pipeline.config import params
from pipeline.config.consistency import must_know
from pipeline.config.params import Settings
from pipeline.protocol.power import discordance_of, items_needed, points_found
from pipeline.storage.schemas import RESULTS
from stages.inputs import paths
from stages.run import run_command
from wina_amp.errors import UserError
from wina_amp.names import DENSE, TEST, TRAIN


def measured(settings: Settings, method: str, baseline: str, target: float) -> tuple[float, int]:
    """The discordance of two methods at a target, and the number of samples that both were evaluated on.

    Raises:
        UserError: an unknown method, or no sample at the target in both.
    """
    scores: list[Any] = []
    for name in (method, baseline):
        must_know("method", name, (DENSE, *settings.methods), "--method, --baseline", "the command line")
        rows: Any = RESULTS.read(paths.results(name), columns=("method", "target", "sample_id", "split", "score"))
        rows = rows[(rows["split"] == TEST) & np.isclose(rows["target"], target) & rows["score"].notna()]
        scores.append(rows.set_index("sample_id")["score"])
    both = scores[0].index.intersection(scores[1].index)
    if not len(both):
        raise UserError(
            "Two methods must have been evaluated on the same samples",
            found=f"none in common at {target:g}",
            where=f"{paths.results(method)} and {paths.results(baseline)}",
            remedy=f"choose a target among {', '.join(f'{known:g}' for known in settings.evaluate.targets)}",
        )
    return discordance_of(scores[0].loc[both].to_numpy(), scores[1].loc[both].to_numpy()), len(both)


def losses(settings: Settings, method: str) -> list[tuple[float, float, float, int]]:
    """What a method loses against dense on train samples: target, points, their standard error, samples."""
    must_know("method", method, settings.methods, "--losses", "the command line")
    columns = ("method", "target", "sample_id", "split", "score")
    dense, own = (RESULTS.read(paths.results(name), columns=columns) for name in (DENSE, method))
    joined: Any = own.merge(dense[["sample_id", "score"]], on="sample_id", suffixes=("", "_dense"))
    joined = joined[(joined["split"] == TRAIN) & joined["score"].notna()]
    if joined.empty:
        raise UserError(
            "A target is found on train samples that were evaluated",
            found="none",
            where=f"{paths.results(method)} and {paths.results(DENSE)}",
            remedy="add `train` to `evaluate.splits`, with enough `evaluate.train_samples`",
        )
    lost = 100 * (joined["score_dense"] - joined["score"])
    by_target = lost.groupby(joined["target"]).agg(["mean", "sem", "size"])
    return [(float(target), *row) for target, row in zip(by_target.index, by_target.to_numpy().tolist(), strict=True)]


def report(discordance: float, difference: float, items: int | None) -> str:
    """What it takes, in words."""
    lines = [f"discordance {discordance:.3f}"]
    if 0 < difference <= 100 * discordance:
        needed = items_needed(discordance, difference)
        lines.append(f"{needed:,} items find {difference:g} points with 80% power, at 95% confidence")
    else:
        lines.append(f"no difference of {difference:g} points is possible: methods disagree on too few items")
    if items is not None and discordance:
        lines.append(f"{items:,} items, as many as there are, find {points_found(discordance, items):.2f} points")
    return "\n".join(lines) + "\n"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="power", description="Items that a paired comparison needs.")
    known = parser.add_mutually_exclusive_group(required=True)
    known.add_argument("--discordance", type=float, help="fraction of items on which one of two methods is right")
    known.add_argument("--method", help="one of params.yaml, with results")
    known.add_argument("--losses", help="a pooled method of params.yaml, with results on train samples")
    parser.add_argument("--baseline", help="the other method; with --method")
    parser.add_argument("--target", type=float, help="where they are compared; with --method")
    parser.add_argument("--difference", type=float, default=1.0, help="in points (1)")
    given = parser.parse_args()
    if given.method and (given.baseline is None or given.target is None):
        parser.error("--method needs --baseline and --target")
    if given.discordance is not None and not 0 < given.discordance <= 1:
        parser.error("--discordance must lie above 0 and at most at 1")
    return given


def main(given: argparse.Namespace) -> None:
    """Print what a comparison needs."""
    if given.losses:
        for target, lost, error, samples in losses(params.load(), given.losses):
            sys.stdout.write(f"{target:g}: {lost:.1f} points below dense, +-{error:.1f}, {samples:.0f} train samples\n")
        return
    discordance, items = given.discordance, None
    if given.method:
        discordance, items = measured(params.load(), given.method, given.baseline, given.target)
    sys.stdout.write(report(discordance, given.difference, items))


if __name__ == "__main__":
    arguments = _arguments()
    run_command("power", lambda: main(arguments))
