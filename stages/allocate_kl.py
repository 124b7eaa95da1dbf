"""The `kl` allocations of stage allocate: of a group by itself, and of groups that start from a pooled allocation.

Groups and targets are independent of each other. Where there is room for several processes
(`pipeline/executors/processes.py`) these allocate them first, each with a model of its own; the loop that follows finds
all of it stored, as it would after an interruption.
"""

from __future__ import annotations

import logging
from contextlib import ExitStack
from functools import lru_cache, partial
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import pandas as pd
from tqdm import tqdm

from pipeline.allocation.calibration.cost import Cost, Meter, MeteredStore
from pipeline.config.params import ProfileSettings, Settings
from pipeline.executors.processes import Advance, finish
from pipeline.histograms.bins import Bins
from pipeline.storage.schemas import ALLOCATIONS, GROUP_HISTOGRAMS
from pipeline.storage.scratch import JsonParts, Parts, Scratch
from stages.inputs.allocation import ALLOCATIONS_PATH, GROUP_HISTOGRAMS_PATH, Costs, counts_of, fingerprint, group_texts
from stages.inputs.model import load_model, model_processes
from stages.run import start_logging

if TYPE_CHECKING:
    from pipeline.allocation.kl.kl import Allocated
    from pipeline.allocation.kl.shrinkage import Group
    from pipeline.allocation.loss import descent
    from pipeline.allocation.loss.divergence import Divergence
    from pipeline.allocation.loss.loss_inputs import LossInputs

log = logging.getLogger("stages.allocate")


def alone(settings: Settings, name: str, profile: ProfileSettings, histograms: Any) -> tuple[pd.DataFrame, Costs]:
    """Every group by itself: rows of `allocations` without the profile's name, and the cost of each group."""
    from pipeline.allocation.kl.kl import work

    targets = sorted(settings.evaluate.targets)
    groups = sorted(set(histograms["group"].tolist()))
    total = len(groups) * work(len(targets), settings.allocate.kl_steps)
    rows: list[pd.DataFrame] = []
    costs: Costs = {}
    with Scratch(f"allocate@{name}", fingerprint(settings, profile)) as parts:
        make = partial(Worker, parts, settings, name)
        with tqdm(total=total, desc=f"kl, {len(groups)} groups", unit="pass") as progress:
            if (processes := model_processes(settings.model)) > 1:
                all_targets = [(group, target) for group in groups for target in targets]
                finish(_allocate, all_targets, make=make, processes=processes, advance=progress.update)
                progress.update(-progress.n)  # the loop below finds all of it stored, and counts it again
            worker = make()
            for group in groups:
                store = worker.store(group)
                for target in targets:
                    allocated = worker.allocate(group, target, store, progress.update)
                    table = _table(worker.validation(group).keys)
                    table = table.assign(sparsity=allocated.sparsity, predicted_error=allocated.loss)
                    rows.append(table.assign(group=group, target=target))
                costs[group] = store.cost
    return pd.concat(rows, ignore_index=True), costs


def from_pooled(settings: Settings, name: str, profile: ProfileSettings, histograms: Any) -> tuple[pd.DataFrame, Costs]:
    """Groups that start from a pooled allocation; one more group, the last, is the pooled allocation itself."""
    from pipeline.allocation.kl.shrinkage import specialise, work

    targets = settings.evaluate.targets
    groups = sorted(set(histograms["group"].tolist()))
    total = len(groups) * work(len(targets), settings.allocate.kl_group_steps)
    rows = [_pooled_rows(profile).drop(columns="profile").assign(group=len(groups), strength=0.0)]
    costs: Costs = {len(groups): Cost()}
    with Scratch(f"allocate@{name}", fingerprint(settings, profile)) as parts:
        make = partial(Worker, parts, settings, name)
        with tqdm(total=total, desc=f"kl from `{profile.parent}`, {len(groups)} groups", unit="pass") as progress:
            if (processes := model_processes(settings.model)) > 1:
                all_targets = [(group, target) for group in groups for target in targets]
                finish(_specialise, all_targets, make=make, processes=processes, advance=progress.update)
                progress.update(-progress.n)
            worker = make()
            for number in groups:
                (group, table), store = worker.member(number), worker.store(number)
                specialised = specialise(group, store, progress.update)
                costs[number] = store.cost
                log.info("group %d of %d: strength %g", number + 1, len(groups), specialised[0].strength)
                for own in specialised:
                    allocated = table.assign(sparsity=own.sparsity, predicted_error=own.loss, strength=own.strength)
                    rows.append(allocated.assign(group=number, target=own.target))
    return pd.concat(rows, ignore_index=True), costs


class Worker:
    """The state of one process that allocates a profile set: a model, a meter of its work, and the losses of a group.

    Args:
        parts: where everything that was measured is stored.
        settings: all of them.
        name: of the profile set.
    """

    def __init__(self, parts: Parts, settings: Settings, name: str) -> None:
        start_logging()
        self.settings, self.profile = settings, settings.profiles[name]
        self._parts = parts
        self._loaded = load_model(settings.model)
        layers = attrgetter(self._loaded.family.layers)(self._loaded.model)
        self._hooks = ExitStack()  # for as long as the process has the model
        self._meter = self._hooks.enter_context(Meter().watching(layers))
        self.gradients = lru_cache(maxsize=1)(self._gradients)
        self.validation = lru_cache(maxsize=1)(self._validation)
        self.member = lru_cache(maxsize=1)(self._member)

    def store(self, group: int) -> MeteredStore:
        """Stored values of a group; new ones are charged with the work from now on."""
        return MeteredStore(JsonParts(self._parts, f"{group:05d}-"), self._meter)

    def allocate(self, group: int, target: float, store: MeteredStore, advance: Advance) -> Allocated:
        """The allocation at one target of a group by itself."""
        from pipeline.allocation.kl.kl import allocate

        validation, options = self.validation(group), self.settings.allocate
        return allocate(
            target,
            validation.fractions,
            self.gradients(group),
            validation.losses,
            store,
            steps=options.kl_steps,
            rate=options.kl_rate,
            advance=advance,
        )

    def _gradients(self, group: int) -> descent.LossGradients:
        """Gradients of the loss of a group by itself, on mini-batches of all its texts."""
        from pipeline.allocation.loss.gradients import LossGradients

        gradients = LossGradients(self._inputs(group, self.profile.scheme, group))
        return gradients.on_minibatches(range(gradients.texts), self.settings.allocate.kl_batch, self.settings.seed)

    def _validation(self, group: int) -> Divergence:
        """The loss of such a group on the texts that start and end are compared on."""
        from pipeline.allocation.loss.divergence import Divergence

        inputs = self._inputs(group, self.profile.scheme, group)
        return Divergence(inputs.on(inputs.texts[-self.settings.allocate.kl_compared :]))

    def _member(self, group: int) -> tuple[Group, pd.DataFrame]:
        """A group that starts from the pooled allocation, with pooled thresholds; and a table of its projections."""
        from pipeline.allocation.kl.shrinkage import FOLDS, Group
        from pipeline.allocation.loss.divergence import Divergence
        from pipeline.allocation.loss.gradients import LossGradients

        allocate, inputs = self.settings.allocate, self._inputs(group, "global", 0)
        folds = [Divergence(inputs.on(inputs.texts[first::FOLDS])) for first in range(FOLDS)]
        gradients, keys = LossGradients(inputs), folds[0].keys
        pooled: Any = _pooled_rows(self.profile).set_index(["target", "block", "projection"])["sparsity"]
        member = Group(
            {target: pooled[target].loc[keys].to_numpy() for target in self.settings.evaluate.targets},
            folds[0].fractions,
            [fold.losses for fold in folds],
            partial(gradients.on_minibatches, size=allocate.kl_group_batch, seed=self.settings.seed),
            texts=gradients.texts,
            steps=allocate.kl_group_steps,
            rate=allocate.kl_group_rate,
        )
        return member, _table(keys)

    def _inputs(self, group: int, scheme: str, thresholds_of: int) -> LossInputs:
        """Texts of `group` of the profile set, masked with the thresholds of a group of `scheme`."""
        from pipeline.allocation.loss.loss_inputs import LossInputs

        settings, criterion, bins = self.settings, self.profile.criterion, Bins(self.settings.capture.mantissa_bits)
        histograms: Any = GROUP_HISTOGRAMS.read(GROUP_HISTOGRAMS_PATH.format(scheme=scheme))
        rows = histograms[(histograms["criterion"] == criterion) & (histograms["group"] == thresholds_of)]
        return LossInputs(
            self._loaded,
            group_texts(settings, self.profile, group),
            counts_of(rows, bins),
            bins,
            criterion,
            settings.tokens.dense_prefix,
            settings.tokens.batch,
            self._meter,
        )


def _allocate(worker: Worker, task: tuple[int, float], advance: Advance) -> None:
    group, target = task
    worker.allocate(group, target, worker.store(group), advance)


def _specialise(worker: Worker, task: tuple[int, float], advance: Advance) -> None:
    from pipeline.allocation.kl.shrinkage import candidates_at

    number, target = task
    (group, _), store = worker.member(number), worker.store(number)
    candidates_at(group, target, store, advance)


def _table(keys: list[tuple[int, str]]) -> pd.DataFrame:
    return pd.DataFrame(keys, columns=["block", "projection"])


def _pooled_rows(profile: ProfileSettings) -> pd.DataFrame:
    return ALLOCATIONS.read(ALLOCATIONS_PATH.format(name=profile.parent))
