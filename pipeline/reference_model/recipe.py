"""What the reference model is and how it is trained: the settings in data/reference/params.yaml, without torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from pipeline.config.fields import Rule, as_mapping, build, check, setting
from pipeline.config.params import parse
from pipeline.tasks.embedded.computations import COMPUTATIONS, TRAINED_LEVELS
from wina_amp.errors import UserError, unknown

_UNTIL = Rule("tokens at which a phase ends", low=1)
_RATE = Rule("share of the peak learning rates", above=0, high=1.1)
_CONTEXT_WEIGHT = Rule("loss weight of tokens that are not part of an answer", low=0, high=1)
_EMPHASIS = Rule("how much more often than once a computation is drawn", above=0)


@dataclass(frozen=True)
class Architecture:
    """Sizes of the Llama model (grouped-query attention, gated MLP)."""

    hidden: int = setting("width of the residual stream", low=8)
    blocks: int = setting("decoder layers", low=1)
    heads: int = setting("query heads", low=1)
    kv_heads: int = setting("key and value heads; divides `heads`", low=1)
    intermediate: int = setting("width of the gated MLP", low=8)
    context: int = setting("longest sequence, in tokens", low=64)


@dataclass(frozen=True)
class Recipe:
    """How it is trained. Learning rates are peaks."""

    seed: int = setting("seed of the initial weights and of the stream of documents", low=0)
    batch_tokens: int = setting("tokens per step, padding included", low=256)
    muon_lr: float = setting("learning rate of the blocks' matrices (Muon)", above=0)
    adam_lr: float = setting("learning rate of everything else (AdamW)", above=0)
    weight_decay: float = setting("weight decay of the blocks' matrices", low=0)
    warmup: int = setting("tokens over which the learning rates rise from nothing", low=1)


@dataclass(frozen=True)
class Phase:
    """What the model reads, until it has read so much.

    Attributes:
        until: tokens of the whole run, padding included, at which the phase ends.
        rate: share of the peak learning rates at the beginning and at the end; linear in between.
        context_weight: loss weight of tokens that are not part of an answer.
        emphasis: how much more often than once a computation is drawn (1 where not named).
        levels: levels of difficulty a computation is drawn from, repeats counting (all four where not named).
    """

    until: int
    rate: tuple[float, float]
    context_weight: float
    emphasis: dict[str, float]
    levels: dict[str, tuple[int, ...]]


@dataclass(frozen=True)
class ReferenceSettings:
    """All of data/reference/params.yaml."""

    architecture: Architecture
    recipe: Recipe
    phases: tuple[Phase, ...]


def load(path: str | Path) -> ReferenceSettings:
    """Read and check the settings of the reference model.

    Raises:
        UserError: a missing, unknown or impossible setting, by name.
    """
    file = str(path)
    values = as_mapping(parse(Path(path)), "params", file)
    listed = values.get("phases")
    if not isinstance(listed, list) or not listed:
        raise UserError("`phases` must be a list of phases", found=listed, where=file, remedy="add at least one phase")
    phases = tuple(_phase(entry, f"phases[{i}]", file) for i, entry in enumerate(cast(list[object], listed)))
    ends = [phase.until for phase in phases]
    if ends != sorted(set(ends)):
        raise UserError("Each phase must end after the one before", found=ends, where=file, remedy="raise `until`")
    return ReferenceSettings(
        build(Architecture, values.get("architecture"), "architecture", file),
        build(Recipe, values.get("recipe"), "recipe", file),
        phases,
    )


def _phase(values: object, name: str, file: str) -> Phase:
    phase = as_mapping(values, name, file)
    parts: dict[str, Mapping[str, object]] = {}
    for part in ("emphasis", "levels"):
        parts[part] = as_mapping(phase.get(part), f"{name}.{part}", file)
        for computation in parts[part]:
            if computation not in COMPUTATIONS:
                raise unknown("computation", computation, COMPUTATIONS, f"`{name}.{part}` in {file}")
    return Phase(
        check(phase.get("until"), int, _UNTIL, f"{name}.until", file),
        _rate(phase.get("rate"), f"{name}.rate", file),
        check(phase.get("context_weight"), float, _CONTEXT_WEIGHT, f"{name}.context_weight", file),
        {
            key: check(value, float, _EMPHASIS, f"{name}.emphasis.{key}", file)
            for key, value in parts["emphasis"].items()
        },
        {key: _levels(value, f"{name}.levels.{key}", file) for key, value in parts["levels"].items()},
    )


def _rate(value: object, name: str, file: str) -> tuple[float, float]:
    ends = cast(list[object], value) if isinstance(value, list) else []
    if len(ends) != 2:
        must = f"`{name}` must be a list of two shares of the peak learning rates, at the beginning and at the end"
        raise UserError(must, found=value, where=file, remedy="write for example [1.0, 0.02]")
    start, end = (check(fraction, float, _RATE, name, file) for fraction in ends)
    return start, end


def _levels(value: object, name: str, file: str) -> tuple[int, ...]:
    levels = cast(list[object], value) if isinstance(value, list) else []
    if not levels or not all(level in TRAINED_LEVELS for level in levels):
        must = f"`{name}` must be a list of levels from {TRAINED_LEVELS[0]} to {TRAINED_LEVELS[-1]}"
        raise UserError(must, found=value, where=file, remedy="list at least one level")
    return tuple(cast(list[int], levels))
