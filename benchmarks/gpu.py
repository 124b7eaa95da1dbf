"""Every GPU figure that the project's targets name, in one command of less than ten minutes.

    python -m benchmarks.gpu                                     # on an H100 or H200, nothing else to do
    python -m benchmarks.gpu --shape llama-3-8b --batches 1      # the targets alone
    python -m benchmarks.gpu --device cpu --dtype float32 --blocks 1 --steps 4    # does it run at all

For models of Llama-3-8B's, Qwen2.5-7B's and Phi-4's shapes (random weights, bfloat16; thresholds are quantiles of each
projection's own `wina` scores over random tokens, the same sparsity everywhere) and batches of 1, 2, 4 and 8:

- capture: one dense pass that counts all scores and sums signatures, up to the rows of its tables, over the plain
  forward pass, batch by batch alternately, as in `benchmarks.full_size`; and how `wina_amp.capture.accumulate` counts
  here.
- kernels: GB/s of kept weights, read by the launches of every input at 0.5 as in a decode step, alternating with a
  copy of memory (bytes read and written). First, for every batch, the block sizes in `CANDIDATES` are tried on the
  MLP's maps of the first shape; the fastest serve from then on, and are printed, to be entered in
  `triton_gather.BLOCKS`.
- end to end: median decode step of the dense model as a CUDA graph over that of the sparse one as a CUDA graph, step by
  step alternately, quartiles in brackets; `--compile` tries torch.compile (max. a minute a batch) for it too.
  Sparsity 0 is the check: what it gains or loses is not due to masks. The roofline beside it is the ratio of the bytes
  that the two steps read.

What does not fit into `--seconds` is skipped, and reported. Exits with 1 if a target is missed. NEVER RUN ON A GPU:
only on a CPU with small sizes (`tests/benchmarks/test_gpu.py`), where no target is checked.
"""

from __future__ import annotations

import argparse
import gc
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

import torch
from torch import Tensor

from benchmarks.full_size import ANSWER, LENGTHS, SHAPES, time_capture
from benchmarks.random_models import in_batches, random_model, random_samples, thresholds
from pipeline.latency.machine import last_level_cache, load, machine
from pipeline.latency.refusal import able
from pipeline.latency.steps import SparseSteps, Steps, sparse_steps
from pipeline.latency.traffic import Reading, other_bytes, rates, watch
from wina_amp.capture.accumulate import backend
from wina_amp.decode.decoding import Decoding, sparse_decoding
from wina_amp.decode.interleaved import WARM, clock, ratios, spread, time_interleaved
from wina_amp.masks.cutoffs import cutoffs
from wina_amp.models.families import INPUT, SITES
from wina_amp.models.mask_sites import MaskSite, mask_sites
from wina_amp.models.sharing import copy_sharing_weights
from wina_amp.names import DTYPES
from wina_amp.scoring.criteria import projection_weights

CRITERION = "wina"
TARGETS = (0.0, 0.4, 0.5, 0.65)
"""Sparsities; each is a group, so that one model and one CUDA graph serve all."""

KERNELS_AT = 0.5
CALIBRATION = 8
"""Sequences that thresholds are from: their tokens behind the context, because attention's outputs shrink with it."""

WATCHED = 2

WANTED = {0.4: 1.25, 0.5: 1.40, 0.65: 1.65}
"""End to end for `WANTED_SHAPE`, one sequence."""

WANTED_CAPTURE = 1.10
"""Capture over the plain forward pass, at most."""

CAPTURED_TOKENS, CAPTURED_REPEATS = 2048, 3
"""A forward pass of capture, padding included; rounds over all samples."""

WANTED_SHAPE, WANTED_SITES, WANTED_BANDWIDTH = "llama-3-8b", ("gate_up", "down"), 0.8

CANDIDATES = (
    *((16, 128, 512, 4), (32, 128, 512, 4), (64, 128, 512, 4), (32, 256, 512, 4), (32, 128, 256, 4), (64, 64, 512, 4)),
    *((64, 256, 512, 8), (32, 128, 1024, 4), (16, 64, 512, 4), (16, 128, 256, 4), (16, 128, 512, 8), (8, 128, 512, 4)),
)
"""`triton_gather.Blocks`: inputs at a time, columns, inputs of a program, warps."""

MOST_SCORED = 128
"""Inputs at a time, times tokens, of a candidate that is tried: more do not fit into registers."""


@dataclass
class Figures:
    """What was measured of the targets.

    Attributes:
        ratios: sparsity -> end to end, of the shape and batch that targets are for.
        bandwidths: input -> fraction of the copy's bandwidth, of the same.
        capture: capture over the plain forward pass, of that shape; None: not measured.
    """

    ratios: dict[float, float] = field(default_factory=dict[float, float])
    bandwidths: dict[str, float] = field(default_factory=dict[str, float])
    capture: float | None = None


def main() -> None:
    """Print everything; exits with 1 if a target is missed on a GPU."""
    options = _options()
    figures = Figures()
    for line in lines(options, figures):
        print(line, flush=True)
    if options.device == "cuda":
        verdicts = list(checks(figures))
        print("\n".join(verdicts))
        raise SystemExit(any("MISSED" in line for line in verdicts))


def checks(figures: Figures) -> Iterator[str]:
    """A line for every target: reached, missed or not measured."""
    wanted = {f"sparsity {at:.2f}, end to end": (figures.ratios.get(at), low) for at, low in WANTED.items()}
    for site in WANTED_SITES:
        wanted[f"{site} at {KERNELS_AT}, of copy bandwidth"] = figures.bandwidths.get(site), WANTED_BANDWIDTH
    for name, (value, low) in wanted.items():
        yield _check(f"{name}: at least {low:.2f}", value, value is not None and value >= low)
    is_reached = figures.capture is not None and figures.capture <= WANTED_CAPTURE
    yield _check(f"capture / plain forward pass: at most {WANTED_CAPTURE:.2f}", figures.capture, is_reached)


def _check(target: str, value: float | None, is_reached: bool) -> str:
    result = "not measured" if value is None else f"{value:.2f}, {'reached' if is_reached else 'MISSED'}"
    return f"target: {WANTED_SHAPE}, {target}: {result}"


def lines(options: argparse.Namespace, figures: Figures) -> Iterator[str]:
    """The lines to print, each as soon as it is measured."""
    began = time.monotonic()
    torch.set_num_threads(options.threads)
    device = torch.device(options.device)
    facts = machine(device, options.threads)
    named = ", ".join(f"{name} {facts[name]}" for name in ("torch", "transformers", "triton"))
    yield f"{facts['device']}, {named}, {options.dtype}, context {options.context}, load {load()}"
    tuned: set[int] = set()
    for shape in options.shape or SHAPES:
        model: _Shape | None = None
        with ExitStack() as stack:
            for batch in options.batches:
                spent = time.monotonic() - began
                if spent > options.seconds:
                    yield f"{shape}, batch {batch}: not run, {spent:.0f} s of {options.seconds:.0f} are spent"
                    continue
                if model is None:
                    model = _Shape(shape, options, stack)
                    yield f"{shape}, {model.blocks} blocks: built after {time.monotonic() - began:.0f} s"
                    yield model.captured(figures)
                yield from model.lines(batch, figures, tuned)
        del model
        gc.collect()
        if device.type == "cuda":
            torch.cuda.empty_cache()
    yield f"{time.monotonic() - began:.0f} s, load {load()}"


class _Shape:
    """A model of one shape, sparse at all targets, and its dense copy.

    Args:
        shape: its name.
        options: of the command.
        stack: what is to be left at the end.
    """

    def __init__(self, shape: str, options: argparse.Namespace, stack: ExitStack) -> None:
        self.shape, self.options = shape, options
        config = SHAPES[shape]()
        config.num_hidden_layers = self.blocks = options.blocks or config.num_hidden_layers
        self.loaded = random_model(config, options.dtype, options.device)
        # Before anything else is on the model.
        items = random_samples(options.samples, config.vocab_size, LENGTHS, ANSWER)
        self.capture = time_capture(self.loaded, in_batches(items, CAPTURED_TOKENS), CAPTURED_REPEATS)
        self.dense = copy_sharing_weights(self.loaded.model)
        self.masks = mask_sites(self.loaded.model, INPUT)
        self.device = self.loaded.device
        self.now = clock(self.device)
        self.cache = last_level_cache(self.device) or 0
        self.backend = options.backend or _backend(options)
        with torch.inference_mode():
            width = options.context + options.steps
            draw = torch.Generator().manual_seed(1)
            ids = torch.randint(3, int(config.vocab_size), (CALIBRATION, width), generator=draw)
            behind = (torch.arange(width) >= options.context).expand(ids.shape)
            limits = thresholds(self.loaded, CRITERION, TARGETS, ids, behind)
            weights = [projection_weights(CRITERION, site.projection) for site in self.masks]
            flat = limits.reshape(len(TARGETS), -1).to(self.device).unbind(dim=1)
            self.cutoffs = [cutoffs(factors, values) for factors, values in zip(weights, flat, strict=True)]
        self.decoding: Decoding = stack.enter_context(
            sparse_decoding(self.loaded, CRITERION, limits, backend=self.backend)
        )

    def captured(self, figures: Figures) -> str:
        """The ratio of capture."""
        if self.shape == WANTED_SHAPE:
            figures.capture = self.capture.ratio
        plain, slow = (1e3 * sum(seconds) / CAPTURED_REPEATS for seconds in (self.capture.plain, self.capture.capture))
        return (
            f"{self.shape}, capture / plain forward pass: {self.capture.ratio:.2f}, counted the way "
            f"`{backend(self.device)}`; {self.options.samples} samples, {slow:.0f} and {plain:.0f} ms, once "
            f"{1e3 * self.capture.once:.0f}; load {load()}"
        )

    def lines(self, batch: int, figures: Figures, tuned: set[int]) -> Iterator[str]:
        """Kernels, then end to end, at one batch."""
        with torch.inference_mode():
            yield from self._kernels(batch, figures, tuned)
            yield from self._end_to_end(batch, figures)

    def _ids(self, batch: int) -> Tensor:
        width = self.options.context + WARM + max(self.options.steps, WATCHED)
        draw = torch.Generator().manual_seed(batch)
        vocabulary = int(self.loaded.model.config.vocab_size)
        return torch.randint(3, vocabulary, (batch, width), generator=draw).to(self.device)

    def _read(self, batch: int, target: float) -> tuple[SparseSteps, Reading, Tensor]:
        """Steps that were watched and are still open, what they read, and the groups."""
        groups = torch.full((batch,), TARGETS.index(target), dtype=torch.int64, device=self.device)
        steps = SparseSteps(self.loaded.model, self._ids(batch), self.options.context, "eager", self.decoding, groups)
        steps.get_ready()
        steps.begin()
        return steps, watch(self.masks, self.cutoffs, groups, steps, WATCHED), groups

    def _kernels(self, batch: int, figures: Figures, tuned: set[int]) -> Iterator[str]:
        steps, reading, groups = self._read(batch, KERNELS_AT)
        rows = 1 << (batch - 1).bit_length()
        if self.backend == "triton" and self.options.tune and rows not in tuned:
            tuned.add(rows)
            yield from self._tune(rows, reading, groups)
        for site in SITES:
            speed, copy, fraction = self._rate([site], reading, groups)
            yield (
                f"{self.shape}, batch {batch}, kernels of {site} at {KERNELS_AT}: reads {fraction:.2f}, "
                f"{speed:.0f} GB/s, "
                f"{speed / copy:.2f} of a copy's {copy:.0f}"
            )
            if (self.shape, batch) == (WANTED_SHAPE, 1):
                figures.bandwidths[site] = speed / copy
        steps.close()

    def _rate(self, names: Sequence[str], reading: Reading, groups: Tensor) -> tuple[float, float, float]:
        """GB/s of the kept weights of some inputs and of a copy, and the fraction of weights that is kept."""
        chosen = [number for number, site in enumerate(self.masks) if site.projection.site in names]
        masks: list[MaskSite] = [self.masks[number] for number in chosen]
        inputs = [reading.inputs[number] for number in chosen]
        kept, offered = 0.0, 0
        for number, site, x in zip(chosen, masks, inputs, strict=True):
            is_kept = ~(x[:, 0].float().abs() <= self.cutoffs[number][groups])
            kept += float(is_kept.any(dim=0).sum()) * site.projection.module.weight[:, 0].nbytes
            offered += site.projection.module.weight.nbytes
        measured = Reading(inputs, kept, offered)
        speed = rates(masks, measured, self.cache, self.options.steps, self.device, self.now)
        return speed.kernels / 1e9, speed.copy / 1e9, kept / offered

    def _tune(self, rows: int, reading: Reading, groups: Tensor) -> Iterator[str]:
        """Try block sizes on the maps of the MLP and keep the fastest."""
        from wina_amp.decode import triton_gather

        default = triton_gather.BLOCKS[rows]
        speeds: dict[triton_gather.Blocks, float] = {}
        few = [sizes for sizes in CANDIDATES if sizes[0] * rows <= MOST_SCORED]
        for blocks in dict.fromkeys([default, *(triton_gather.Blocks(*sizes) for sizes in few)]):
            triton_gather.BLOCKS[rows] = blocks
            try:
                speeds[blocks] = self._rate(WANTED_SITES, reading, groups)[0]
            except Exception as error:  # a candidate may be too large for this GPU, which Triton says in many ways
                if blocks == default:
                    raise
                yield f"blocks for {rows} tokens: {blocks} do not run: {str(error).splitlines()[0]}"
        best = max(speeds, key=lambda blocks: speeds[blocks])
        triton_gather.BLOCKS[rows] = best
        tried = ", ".join(
            f"{blocks.inputs}x{blocks.outputs}/{blocks.part}/{blocks.warps} {speed:.0f}"
            for blocks, speed in speeds.items()
        )
        yield f"blocks for {rows} tokens, GB/s on the MLP's maps: {tried}; taken: {best}"

    def _end_to_end(self, batch: int, figures: Figures) -> Iterator[str]:
        reads: dict[float, float] = {}
        for target in TARGETS:
            steps, reading, _ = self._read(batch, target)
            steps.close()
            reads[target] = reading.kept
        other = other_bytes(self.loaded.model, self.masks)
        ids = self._ids(batch)
        dense = [self._dense_steps(ids, way) for way in self._dense_ways()]
        # The same tensor throughout: what it says is the target, also to a recorded graph.
        groups = torch.zeros(batch, dtype=torch.int64, device=self.device)
        sparse = sparse_steps(self.loaded.model, ids, self.options.context, self.decoding, groups)
        for target in TARGETS:
            groups.fill_(TARGETS.index(target))
            every = {f"dense {steps.way}": steps for steps in dense} | {"sparse": sparse}
            for steps in every.values():
                steps.begin()
            seconds = time_interleaved(every, self.options.steps, self.now)
            for steps in every.values():
                steps.close()
            slow = min((name for name in every if name != "sparse"), key=lambda name: spread(seconds[name]).median)
            gain = ratios(seconds[slow], seconds["sparse"])
            own, their = spread(seconds["sparse"]).median, spread(seconds[slow]).median
            whole = sum(site.projection.module.weight.nbytes for site in self.masks) + other + dense[0].cache_bytes
            moved = reads[target] + other + sparse.cache_bytes
            yield (
                f"{self.shape}, batch {batch}, sparsity {target:.2f}: {1e3 * own:.3f} ms a step ({sparse.way}), "
                f"{slow} {1e3 * their:.3f}, {gain.median:.2f}x [{gain.low:.2f}, {gain.high:.2f}], roofline "
                f"{whole / moved:.2f}x; {moved / own / 1e9:.0f} GB/s, dense {whole / their / 1e9:.0f}; load {load()}"
            )
            if (self.shape, batch) == (WANTED_SHAPE, 1):
                figures.ratios[target] = gain.median

    def _dense_ways(self) -> tuple[str, ...]:
        first = "graph" if self.device.type == "cuda" else "eager"
        return (first, "compiled") if self.options.compile else (first,)

    def _dense_steps(self, ids: Tensor, way: str) -> Steps:
        steps = Steps(self.dense, ids, self.options.context, way)
        steps.get_ready()
        return steps


def _backend(options: argparse.Namespace) -> str:
    backends = able(options.device, getattr(torch, options.dtype), max(options.batches))
    if not backends:
        raise SystemExit(
            f"no backend skips weights in {options.dtype} on {options.device}, {max(options.batches)} tokens"
        )
    return backends[0]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", action="append", choices=SHAPES, help="these only; may be repeated")
    parser.add_argument("--blocks", type=int, help="blocks to build (default: as many as the real model has)")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--context", type=int, default=128, help="tokens in front of the decoded ones")
    parser.add_argument("--steps", type=int, default=24, help="timed steps of each model")
    parser.add_argument("--samples", type=int, default=8, help="for capture")
    parser.add_argument("--device", default="cuda", choices=("cpu", "cuda"))
    parser.add_argument("--dtype", default="bfloat16", choices=DTYPES)
    parser.add_argument("--backend", help="of the sparse model (default: the first that skips weights)")
    parser.add_argument("--compile", action="store_true", help="try torch.compile for the dense model, too")
    parser.add_argument("--tune", action=argparse.BooleanOptionalAction, default=True, help="try block sizes first")
    parser.add_argument("--seconds", type=float, default=480, help="nothing is begun afterwards")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads")
    return parser.parse_args()


if __name__ == "__main__":
    main()
