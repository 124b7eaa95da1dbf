"""estimate: the stages a run would run, and roughly how long, with how much disk and memory. `make estimate` runs it.

Reads settings, the checkpoint's config.json and, where it is up to date, the table of samples; measures the machine for
some seconds and runs no stage. The page says what the figures assume.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from commands.check import changes
from pipeline.compute.sizes import Sizes, sizes_of
from pipeline.config.methods import EvaluateSettings
from pipeline.config.params import Settings
from pipeline.config.profiles import ProfileSettings
from pipeline.estimate import work
from pipeline.estimate.page import amount, page
from pipeline.estimate.pending import pending
from pipeline.estimate.space import PROCESS, Space, space
from pipeline.estimate.work import Cost
from pipeline.estimate.workload import ASSUMED_TOKENS, Workload, assumed, from_samples
from pipeline.executors.processes import processes
from pipeline.routing import benefits
from pipeline.storage.schemas import SAMPLES
from stages.allocate_greedy import SHARES, tokens_of_group
from stages.allocate_kl import budget as budget_of
from stages.evaluate import PORTION
from stages.inputs import paths
from stages.latency_inputs import what_is_timed
from stages.run import limit_threads, run
from wina_amp.allocation import shrinkage
from wina_amp.allocation.feature_weights import learning_gradients
from wina_amp.allocation.kl import kl
from wina_amp.allocation.kl import plan as plans
from wina_amp.models.integrity import config_of
from wina_amp.models.source import cached_folder, config_folder
from wina_amp.names import DENSE, GRADIENT_SCHEMES, GREEDY, LAZY, LEARNED, NO_TRANSFORM, POOLED, UNIFORM


def main(settings: Settings) -> None:
    """Print the estimate."""
    names, stages = pending(Path.cwd(), also=["manifest"] if changes(settings.model) else [])
    if not names:
        sys.stdout.write(page([], stages, [], [], "") + "\n")
        return
    config = config_of(config_folder(settings.model.path, settings.model.revision))
    sizes = sizes_of(config)
    load = _workload(settings, is_known="prepare" not in names)
    cost = _cost(settings, config, load)
    each = [(name, seconds(settings, cost, name)) for name in names]
    needs = _needs(settings, _space(settings, sizes, load), cost.rates.device)
    sys.stdout.write(page(each, stages, needs, _notes(settings, cost), cost.rates.device) + "\n")


def seconds(settings: Settings, cost: Cost, stage: str) -> float:
    """The estimate for one stage of dvc.yaml."""
    kind, _, name = stage.partition("@")
    evaluate = settings.evaluate
    if kind == "capture":
        return work.START + cost.capture() / cost.processes
    if kind == "weights" and LEARNED in settings.capture.criteria:
        return work.START + _learning(settings, cost)
    if kind == "transform" and settings.model.transform != NO_TRANSFORM:
        return work.START + cost.transform()
    if kind == "dense":
        return work.START + _evaluation(evaluate, cost, ordinary=1, primary=int(evaluate.primary is not None))
    if kind == "evaluate":
        return work.START + _evaluation(evaluate, cost, *_runs(evaluate, name), is_masked=True)
    if kind == "allocate" and settings.profiles[name].allocation not in (UNIFORM, POOLED):
        return work.START + _allocation(settings, cost, settings.profiles[name])
    if kind == "profile" and settings.profiles[name].calibration != DENSE:
        return work.START + _calibration(settings, cost, settings.profiles[name])
    if kind == "gradient_clusters":
        passes = len(settings.gradient.targets) * (cost.dense(cost.train) + cost.gradient(cost.train))
        return work.START + passes / cost.processes
    if kind == "benefit_router":
        groups = _groups(settings, settings.profiles[settings.route.benefit_routers[name]].scheme, cost.workload)
        passes = benefits.work(len(settings.route.benefit_targets) * (groups + 1))
        texts = 2 * cost.train  # as many of the test samples
        return work.START + passes * cost.loss(texts) / cost.processes
    if kind == "latency":
        return _timings(settings, cost)
    if kind in ("prepare", "route"):
        return work.START + work.PER_SAMPLE * cost.workload.samples
    if kind in ("cluster", "report"):
        start, per_sample = work.CLUSTER if kind == "cluster" else work.REPORT
        return start + per_sample * cost.workload.samples
    return work.START if kind == "export" else work.LIGHT_START


def _learning(settings: Settings, cost: Cost) -> float:
    """The estimate for the steps of learned feature weights."""
    learn = settings.learn
    step = learning_gradients.work(learn.batch, cost.train)
    each = cost.gradient(step.gradients) + work.CAPTURE * cost.dense(step.counted)
    steps = (learn.warm_steps + learn.steps) * each / min(cost.processes, step.chunks)
    return steps + cost.dense(cost.train)


def _runs(evaluate: EvaluateSettings, method: str) -> tuple[int, int]:
    """At how many targets a sparse method is evaluated, and at how many of them on all test samples."""
    primary = evaluate.primary
    return len(evaluate.targets), len(primary.targets) if primary is not None and method in primary.methods else 0


def _evaluation(
    evaluate: EvaluateSettings, cost: Cost, ordinary: int, primary: int, *, is_masked: bool = False
) -> float:
    """The estimate for so many runs on the first samples of every task, and so many on the other test samples.

    Portions are worked on by one process each: a study with few of them does not end before the longest has.
    """

    load, limits = cost.workload, evaluate.limits
    once = {split: cost.evaluation((split,), limits, is_masked=is_masked) for split in evaluate.splits}
    more = cost.evaluation(("test",), {}, is_masked=is_masked) - once.get("test", 0.0) if primary else 0.0
    chosen = {split: load.among_first(limits) & (load.is_train == (split == "train")) for split in once}
    longest = max(seconds / max(1, -(-chosen[split].sum() // PORTION)) for split, seconds in once.items())
    return max((ordinary * sum(once.values()) + primary * more) / cost.processes, longest)


def _evaluated(settings: Settings, load: Workload) -> int:
    """Samples times targets over all methods: rows of the tables of results."""
    evaluate = settings.evaluate
    is_wanted = np.where(load.is_train, "train" in evaluate.splits, "test" in evaluate.splits)
    first = load.among_first(evaluate.limits)
    sparse = [_runs(evaluate, name) for name in settings.methods]
    ordinary, primary = (sum(column) for column in zip((1, int(evaluate.primary is not None)), *sparse, strict=True))
    return ordinary * int((first & is_wanted).sum()) + primary * int((~first & ~load.is_train).sum())


def _allocation(settings: Settings, cost: Cost, profile: ProfileSettings) -> float:
    """The estimate for the search of one profile set, the model at hand. Dense passes are made by every process."""
    allocate, targets = settings.allocate, settings.evaluate.targets
    groups = _groups(settings, profile.scheme, cost.workload)
    texts = cost.train / groups
    budget = budget_of(allocate)
    if profile.parent is not None:
        plan = plans.group_plan(cost.mean_length, **budget)
        held_out = min(texts / shrinkage.FOLDS, plan.compared)
        losses = len(targets) * len(shrinkage.STRENGTHS) * cost.loss(held_out)
        if profile.allocation == GREEDY:
            shared = losses + _greedy(settings, cost, groups)
            return groups * (shared / min(cost.processes, groups) + cost.dense(held_out))
        steps = len(targets) * plan.steps * cost.gradient(min(plan.batch, texts))
        dense = cost.dense(texts + shrinkage.FOLDS * held_out)
        return groups * ((steps + losses) / min(cost.processes, groups * len(targets)) + dense)
    if profile.allocation == GREEDY:
        return groups * _greedy(settings, cost, groups) / min(cost.processes, groups * SHARES)
    plan, count = plans.pooled_plan(cost.mean_length, **budget), kl.work(len(targets), allocate.kl_steps)
    compared = min(plan.compared, texts)
    passes = count.choices * cost.loss(compared) + count.steps * cost.gradient(min(plan.batch, texts))
    return groups * (passes / min(cost.processes, groups * len(targets)) + cost.dense(compared + texts))


def _greedy(settings: Settings, cost: Cost, groups: int) -> float:
    """The estimate for the search of one of so many groups."""
    allocate = settings.allocate
    return cost.greedy(
        1,
        stop=max(settings.evaluate.targets),
        step=allocate.greedy_step,
        tokens=tokens_of_group(settings, groups),
        is_lazy=allocate.greedy_search == LAZY,
    )


def _calibration(settings: Settings, cost: Cost, profile: ProfileSettings) -> float:
    """The estimate for the thresholds of one profile set; every group at every target is a task."""
    groups, tokens = _groups(settings, profile.scheme, cost.workload), settings.thresholds.tokens
    each = groups * cost.calibration(min(tokens, cost.train_tokens / groups))
    pooled = cost.calibration(min(tokens, cost.train_tokens)) if profile.parent is not None else 0.0
    targets = len(settings.evaluate.targets)
    return targets * (each + pooled) / min(cost.processes, targets * groups)


def _timings(settings: Settings, cost: Cost) -> float:
    """The estimate for the stage `latency`, which only starts where nothing can be timed."""
    asked, latency = what_is_timed(settings), settings.latency
    if asked.reason is not None:
        return work.START
    parts = len(asked.methods) * len(settings.evaluate.targets)
    return work.START + cost.timings(parts, batches=latency.batches, contexts=latency.contexts, steps=latency.steps)


def _timed_note(settings: Settings) -> str:
    reason = what_is_timed(settings).reason
    if reason is not None:
        return f"`latency` times nothing: {reason}."
    times = 3 if settings.model.transform == NO_TRANSFORM else 4
    return (
        f"`latency` holds up to {times} copies of the weights (input-major ones for the sparse side and the unmasked "
        "baseline) and wants the machine for itself: other work makes its figures worthless."
    )


def _groups(settings: Settings, scheme: str, load: Workload) -> int:
    if scheme in GRADIENT_SCHEMES:  # their number is chosen on the way: the middle of what it may be
        return sorted(settings.gradient.counts)[len(settings.gradient.counts) // 2]
    return {"global": 1, "task": load.tasks}.get(scheme, settings.cluster.count)


def _workload(settings: Settings, *, is_known: bool) -> Workload:
    if is_known and Path(paths.SAMPLES).is_file():
        columns = ("sample_id", "task", "split", "kind", "choices", "answer_ids", "n_tokens")
        return from_samples(SAMPLES.read(paths.SAMPLES, columns=columns))
    counts = {"train": settings.benchmark.train_samples, "test": settings.benchmark.test_samples}
    return assumed(settings.benchmark.tasks, counts)


def _cost(settings: Settings, config: Mapping[str, Any], load: Workload) -> Cost:
    import torch

    from pipeline.estimate.rates import measure, one_block
    from stages.inputs.model import model_processes
    from wina_amp.models.placement import choose_device

    limit_threads()
    sizes, model = sizes_of(config), settings.model
    device, dtype = choose_device(model.device), getattr(torch, model.dtype)
    weights = sizes.parameters * dtype.itemsize
    inner = max(linear.inputs for linear in sizes.block)
    length = max(1, round(float(load.prompts.mean())))
    rates = measure(one_block(config, dtype), sizes.hidden, inner, length, device, sizes.parameters)
    is_listed = Path(paths.MANIFEST).is_file()
    shared = model_processes(model) if is_listed else processes(weights, on_cpu=device.type == "cpu")
    return Cost(sizes, load, rates, settings.tokens.batch, dtype.itemsize, shared)


def _space(settings: Settings, sizes: Sizes, load: Workload) -> Space:
    import torch

    from wina_amp.histograms.bins import Bins

    has_greedy = any(profile.allocation == "greedy" for profile in settings.profiles.values())
    return space(
        sizes,
        load,
        criteria=len(settings.capture.criteria),
        bins=Bins(settings.capture.mantissa_bits).count,
        signature_dim=settings.capture.signature_dim,
        evaluated=_evaluated(settings, load),
        batch=settings.tokens.batch,
        greedy_tokens=settings.allocate.greedy_tokens if has_greedy else 0,
        bytes_per_number=getattr(torch, settings.model.dtype).itemsize,
    )


def _needs(settings: Settings, needed: Space, device: str) -> list[tuple[str, str]]:
    cached = cached_folder(settings.model.path, settings.model.revision)
    is_here = cached is not None and any(cached.glob("*.safetensors"))
    weights = "the checkpoint is on this disk" if is_here else f"about {amount(needed.weights)} to download"
    free = amount(shutil.disk_usage(Path.cwd()).free)
    parts = f"histograms {amount(needed.histograms)}, signatures {amount(needed.signatures)}"
    memory = f"{amount(needed.memory)}: weights {amount(needed.weights)}, at work {amount(needed.working)}"
    needs = [
        ("disk", f"{amount(needed.tables)}: {parts}, results {amount(needed.results)}; {free} are free; {weights}"),
    ]
    if device.startswith("CPU"):
        return [*needs, ("memory", f"{memory}, the process {amount(PROCESS)}")]
    return [*needs, ("GPU memory", memory), ("memory", f"{amount(PROCESS)}, and one weight file while loading")]


def _notes(settings: Settings, cost: Cost) -> Sequence[str]:
    rates, load = cost.rates, cost.workload
    source = f"{load.samples:,} samples of data/samples.parquet, {int(load.prompts.sum()):,} prompt tokens"
    if load.is_assumed:
        source = (
            f"{load.samples:,} samples of {ASSUMED_TOKENS} tokens, nothing generated: `prepare` has not run; every "
            "name in `benchmark.tasks` counts as one task with all its samples, mmlu as 57"
        )
    return (
        f"Work: {source}; generated answers are as long as the right one.",
        f"Measured just now, as busy as this machine is: {rates.token * 1e6:.3g} us a token in one block in "
        f"{settings.model.dtype}, {rates.flops / 1e9:,.0f} GFLOP/s, {rates.bandwidth / 1e9:,.0f} GB/s of weights; "
        f"processes that share a stage: {cost.processes}.",
        f"Times the plain pass: capture {work.CAPTURE:g}, a masked pass {work.MASKED:g}, a gradient "
        f"{work.MASKED * work.GRADIENT:g}. A stage with a model takes {work.START:.0f} s to start.",
        _timed_note(settings),
        "The times are those of work that is really done: stages whose inputs come out as before are skipped, finished "
        "targets, groups and parts are not computed again.",
    )


if __name__ == "__main__":
    run("estimate", main)
