"""Observe a model as it runs: score histograms and feature magnitudes of every site, attributed to samples.

One hook per site reads the activation once for all projections and criteria that score it; projections whose feature
weights are equal (under `teal` all those of a site) share one scoring, whose counts are kept once. Where a criterion
reads the activated gate of the MLP, that is watched, too, for its histograms alone: signatures describe the inputs of
projections, whatever criteria are captured. Only counts and sums leave the hook, never activations. The hooks are
removed on exit, also after an error, and change nothing the model computes.

The caller runs the model and says which tokens count for which sample (`pipeline/capture/capture.py`).
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Self

import torch
from jaxtyping import Float32, Int, Int32
from numpy import ndarray
from torch import Tensor

from wina_amp.capture.accumulate import Totals, accumulate
from wina_amp.errors import UserError
from wina_amp.histograms.bins import Bins
from wina_amp.models.families import ACTIVATED_GATE, INPUT
from wina_amp.models.mask_sites import Tap, mask_sites
from wina_amp.models.projections import Site, projections, sites
from wina_amp.scoring.criteria import criterion_row, influence, projection_weights

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from wina_amp.models.load import LoadedModel


@dataclass(frozen=True)
class Scoring:
    """Projections of one site whose scores are the same under `criterion`."""

    projections: tuple[str, ...]
    criterion: str


@dataclass(frozen=True)
class Observation:
    """Counts and magnitudes of one batch at one site.

    Attributes:
        site: the activation and its projections; the activated gate is a site of that name, read by `down`.
        scorings: projections that a criterion gives equal feature weights, with that criterion; in the order of the
            criteria, then of the projections.
        counts: histograms of the batch's histogram rows, for every scoring.
        magnitudes: for every signature row the sum over its tokens of |x_i| * sqrt(sum over projections ||W[:, i]||^2);
            no rows for the activated gate.
    """

    site: Site
    scorings: tuple[Scoring, ...]
    counts: Int32[ndarray, "samples scorings bins"]
    magnitudes: Float32[ndarray, "prompts features"]

    def by_projection(self) -> Iterator[tuple[str, str, Int32[ndarray, "samples bins"]]]:
        """Every projection and criterion with its counts, those of a shared scoring for each of its projections."""
        for number, scoring in enumerate(self.scorings):
            for projection in scoring.projections:
                yield projection, scoring.criterion, self.counts[:, number]


class Observer:
    """Context manager that observes a model.

    Use:

        with Observer(loaded, ["teal", "wina"], Bins(4)) as observer:
            with observer.batch(histogram_rows, signature_rows):
                loaded.decoder(input_ids=ids)
            observations = observer.take()

    Raises:
        UserError: unknown criterion; in `take`, a score that is NaN or infinite, naming block and projection.
    """

    def __init__(self, loaded: LoadedModel, criteria: Sequence[str], bins: Bins) -> None:
        self._bins = bins
        self._sites = _watched(loaded.model, criteria)
        self._batch: _Batch | None = None
        self._hooks = ExitStack()

    def __enter__(self) -> Self:
        for number, watched in enumerate(self._sites):
            self._hooks.callback(watched.tap.register(partial(self._observe, number)).remove)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._batch = None
        self._hooks.close()

    @contextmanager
    def batch(
        self, histogram_rows: Int[Tensor, "batch width"], signature_rows: Int[Tensor, "batch width"]
    ) -> Generator[None]:
        """Observe the forward passes inside the block, which must be over `[batch, width]` tokens.

        Args:
            histogram_rows: for every token the row of `Observation.counts` its scores go to, or -1. On the CPU.
            signature_rows: the same for `Observation.magnitudes`.
        """
        self._batch = _Batch(self._sites, self._bins, histogram_rows, signature_rows)
        try:
            yield
        finally:
            self._batch.is_open = False

    def take(self) -> list[Observation]:
        """The observations of the last batch, in the order of `projections.sites`, then the activated gates of all
        blocks if a criterion reads them; waits for the device once."""
        if self._batch is None or self._batch.is_open:
            raise RuntimeError("take() belongs after `with observer.batch(...)`, once per batch")
        batch, self._batch = self._batch, None
        _refuse_broken(self._sites, batch)
        return [
            Observation(
                site=watched.site,
                scorings=watched.scorings,
                counts=_take(totals.counts.cpu().numpy(), watched.weights_of),
                magnitudes=(totals.sums * watched.influence).cpu().numpy(),
            )
            for watched, totals in zip(self._sites, batch.totals, strict=True)
        ]

    def _observe(self, number: int, x: Tensor) -> None:
        if self._batch is not None and self._batch.is_open:
            self._batch.add(number, x.detach())


def _watched(model: PreTrainedModel, criteria: Sequence[str]) -> list[_Watched]:
    of_inputs = [criterion for criterion in criteria if criterion_row(criterion).reads == INPUT]
    of_gates = [criterion for criterion in criteria if criterion not in of_inputs]
    watched = [
        _Watched(site, Tap(site.projections[0].module), of_inputs, has_magnitudes=True)
        for site in sites(projections(model))
    ]
    for mask_site in mask_sites(model, ACTIVATED_GATE) if of_gates else ():
        gate = Site(mask_site.projection.block, ACTIVATED_GATE, (mask_site.projection,))
        watched.append(_Watched(gate, mask_site.tap, of_gates, has_magnitudes=False))
    return watched


class _Watched:
    """A site with its distinct scorings.

    Attributes:
        tap: where in the forward pass it is seen.
        has_magnitudes: whether signatures describe it.
        scorings: which projections share their counts, under which criterion.
        weights: one row for each distinct vector of feature weights.
        weights_of: for each of `scorings`, its row in `weights`; criteria may share one.
        device: where they are, and the activation is.
        influence: s_i of `wina_amp/scoring/signature.py`.
    """

    def __init__(self, site: Site, tap: Tap, criteria: Sequence[str], *, has_magnitudes: bool) -> None:
        self.site, self.tap, self.has_magnitudes = site, tap, has_magnitudes
        distinct: list[Tensor] = []
        shared: dict[tuple[str, int], list[str]] = {}
        for criterion in criteria:
            for projection in site.projections:
                weights = projection_weights(criterion, projection)
                shared.setdefault((criterion, _row_of(weights, distinct)), []).append(projection.name)
        self.scorings = tuple(Scoring(tuple(names), criterion) for (criterion, _), names in shared.items())
        self.weights_of = [row for _, row in shared]
        self.device = site.projections[0].module.weight.device
        self.weights = torch.stack(distinct) if distinct else torch.zeros(0, site.features, device=self.device)
        self.influence = influence(site)


class _Batch:
    """The accumulators of one batch, on the devices of their sites."""

    def __init__(
        self,
        watched: Sequence[_Watched],
        bins: Bins,
        histogram_rows: Int[Tensor, "batch width"],
        signature_rows: Int[Tensor, "batch width"],
    ) -> None:
        segment, sum_segment = histogram_rows.reshape(-1).long(), signature_rows.reshape(-1).long()
        histograms, prompts = (int(rows.max()) + 1 for rows in (segment, sum_segment))
        devices = {site.device for site in watched}
        self.is_open = True
        self.segments = {device: (segment.to(device), sum_segment.to(device)) for device in devices}
        self.totals = [
            Totals.zeros(bins, site.weights, histograms, prompts if site.has_magnitudes else 0) for site in watched
        ]

    def add(self, number: int, x: Tensor) -> None:
        segment, sum_segment = self.segments[x.device]
        totals = self.totals[number]
        if not len(totals.sums):
            sum_segment = torch.full_like(sum_segment, -1)
        accumulate(x.reshape(-1, x.shape[-1]), segment, sum_segment, totals)


def _refuse_broken(watched: Sequence[_Watched], batch: _Batch) -> None:
    home = watched[0].device
    sums_broken = torch.stack([(~torch.isfinite(totals.sums).all()).to(home) for totals in batch.totals]).int()
    flags = torch.cat([sums_broken, *(totals.broken.to(home) for totals in batch.totals)]).cpu().numpy()
    if not flags.any():
        return
    start = len(watched)
    for number, site in enumerate(watched):
        scorings = flags[start : start + len(site.weights)]
        start += len(site.weights)
        pairs = zip(site.scorings, site.weights_of, strict=True)
        names = {name for scoring, row in pairs if scorings[row] for name in scoring.projections}
        if names or flags[number]:
            every = [projection.name for projection in site.site.projections]
            raise not_finite(site.site.block, next((name for name in every if name in names), every[0]))


def not_finite(block: int, projection: str) -> UserError:
    """The error of a score that is NaN or infinite."""
    return UserError(
        "Every activation score must be finite",
        found="NaN or infinity",
        where=f"block {block}, projection {projection}",
        remedy="set `model.dtype` to float32 or bfloat16 (float16 overflows), or check the checkpoint",
    )


def _take(counts: Int32[ndarray, "samples weights bins"], rows: list[int]) -> Int32[ndarray, "samples scorings bins"]:
    return counts if rows == list(range(counts.shape[1])) else counts[:, rows]


def _row_of(weights: Tensor, distinct: list[Tensor]) -> int:
    for row, known in enumerate(distinct):
        if torch.equal(known, weights):
            return row
    distinct.append(weights)
    return len(distinct) - 1
