"""What the reference model is and how it is trained: the settings in data/reference/params.yaml, without torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pipeline.benchmark.computations import COMPUTATIONS
from pipeline.config import parse
from pipeline.errors import unknown
from pipeline.settings import Rule, as_mapping, build, check, setting

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
    tokens: int = setting("token budget, padding included", low=1)
    batch_tokens: int = setting("tokens per step, padding included", low=256)
    muon_lr: float = setting("learning rate of the blocks' matrices (Muon)", above=0)
    adam_lr: float = setting("learning rate of everything else (AdamW)", above=0)
    weight_decay: float = setting("weight decay of the blocks' matrices", low=0)
    context_weight: float = setting("loss weight of tokens that are not part of an answer", low=0, high=1)
    warmup: float = setting("share of the budget over which the learning rate rises", above=0, below=1)


@dataclass(frozen=True)
class ReferenceSettings:
    """All of data/reference/params.yaml. `emphasis` holds the computations that are drawn more often than once."""

    architecture: Architecture
    recipe: Recipe
    emphasis: dict[str, float]


def load(path: str | Path) -> ReferenceSettings:
    """Read and check the settings of the reference model.

    Raises:
        UserError: a missing, unknown or impossible setting, by name.
    """
    file = str(path)
    values = as_mapping(parse(Path(path)), "params", file)
    emphasis = as_mapping(values.get("emphasis"), "emphasis", file)
    for name in emphasis:
        if name not in COMPUTATIONS:
            raise unknown("computation", name, COMPUTATIONS, f"`emphasis` in {file}")
    return ReferenceSettings(
        build(Architecture, values.get("architecture"), "architecture", file),
        build(Recipe, values.get("recipe"), "recipe", file),
        {name: check(value, float, _EMPHASIS, f"emphasis.{name}", file) for name, value in emphasis.items()},
    )
