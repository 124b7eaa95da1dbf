"""A worker of stage allocate that measures the model's loss: a model, a meter of its work, and texts of groups."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pandas as pd

from pipeline.config.params import Settings
from pipeline.storage.parts import JsonParts, Parts
from pipeline.storage.schemas import GROUP_HISTOGRAMS
from stages.inputs import paths
from stages.inputs.allocation import counts_of, group_texts
from stages.inputs.model import load_model
from wina_amp.allocation.calibration.cost import Meter, MeteredStore
from wina_amp.histograms.bins import Bins

if TYPE_CHECKING:
    from wina_amp.allocation.loss.loss_inputs import LossInputs


class LossWorker:
    """One process's model and what it has run for profile set `name`; measurements are kept in `parts`.

    Attributes:
        keys: block and name of every projection, in the order of an allocation's sparsities.
        sites: the same as a table.
    """

    def __init__(self, parts: Parts, settings: Settings, name: str) -> None:
        from wina_amp.models.projections import projections

        self.settings, self.profile = settings, settings.profiles[name]
        self._parts = parts
        self.loaded = load_model(settings.model)
        self.keys = [(projection.block, projection.name) for projection in projections(self.loaded.model)]
        self.sites = pd.DataFrame(self.keys, columns=["block", "projection"])
        self._hooks = ExitStack()  # for as long as the process has the model
        self.meter = self._hooks.enter_context(Meter().watching(self.loaded.layers))

    def store(self, group: int) -> MeteredStore:
        """The kept values of a group; those that are added are charged with the work from now on."""
        return MeteredStore(JsonParts(self._parts, f"{group:05d}-"), self.meter)

    def inputs(self, group: int, scheme: str, thresholds_of: int) -> LossInputs:
        """Texts of `group` of the profile set, masked with the thresholds of a group of `scheme`."""
        from wina_amp.allocation.loss.loss_inputs import LossInputs

        settings, criterion, bins = self.settings, self.profile.criterion, Bins(self.settings.capture.mantissa_bits)
        histograms: Any = GROUP_HISTOGRAMS.read(paths.group_histograms(scheme))
        known = histograms[(histograms["criterion"] == criterion) & (histograms["group"] == thresholds_of)]
        return LossInputs(
            self.loaded,
            group_texts(self.profile.scheme, group, settings.seed),
            counts_of(known, bins),
            bins,
            criterion,
            settings.tokens.dense_prefix,
            settings.tokens.batch,
            self.meter,
        )
