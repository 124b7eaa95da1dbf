"""What the reference model is and how it is trained: the settings in data/reference/params.yaml, without torch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, StrictFloat, StrictInt, StrictStr
from pydantic.dataclasses import dataclass

from pipeline.config.kinds import SECTION, OneOf
from pipeline.config.params import parse
from pipeline.config.validation import validated
from pipeline.tasks.embedded.computations import COMPUTATIONS, TRAINED_LEVELS
from wina_amp.errors import UserError

Computation = Annotated[StrictStr, OneOf(COMPUTATIONS)]
Rate = Annotated[StrictFloat, Field(ge=0, le=1.1)]
Level = Annotated[StrictInt, Field(ge=TRAINED_LEVELS[0], le=TRAINED_LEVELS[-1])]


@dataclass(frozen=True, config=SECTION)
class Architecture:
    """Sizes of the Llama model (grouped-query attention, gated MLP)."""

    hidden: StrictInt = Field(ge=8, description="width of the residual stream")
    blocks: StrictInt = Field(ge=1, description="decoder layers")
    heads: StrictInt = Field(ge=1, description="query heads")
    kv_heads: StrictInt = Field(ge=1, description="key and value heads; divides `heads`")
    intermediate: StrictInt = Field(ge=8, description="width of the gated MLP")
    context: StrictInt = Field(ge=64, description="longest sequence, in tokens")


@dataclass(frozen=True, config=SECTION)
class Recipe:
    """How it is trained. Learning rates are peaks."""

    seed: StrictInt = Field(ge=0, description="seed of the initial weights and of the stream of documents")
    batch_tokens: StrictInt = Field(ge=256, description="tokens per step, padding included")
    muon_lr: StrictFloat = Field(gt=0, description="learning rate of the blocks' matrices (Muon)")
    adam_lr: StrictFloat = Field(gt=0, description="learning rate of everything else (AdamW)")
    weight_decay: StrictFloat = Field(ge=0, description="weight decay of the blocks' matrices")
    warmup: StrictInt = Field(ge=1, description="tokens over which the learning rates rise from nothing")


@dataclass(frozen=True, config=SECTION)
class Phase:
    """What the model reads, until it has read so much."""

    until: StrictInt = Field(ge=1, description="tokens of the whole run, padding included, at which the phase ends")
    rate: tuple[Rate, Rate] = Field(
        description="fraction of the peak learning rates at the beginning and at the end; linear in between"
    )
    context_weight: StrictFloat = Field(ge=0, le=1, description="loss weight of tokens that are not part of an answer")
    emphasis: dict[Computation, Annotated[StrictFloat, Field(gt=0)]] = Field(
        description="how much more often than once a computation is drawn; 1 where not named"
    )
    levels: dict[Computation, Annotated[tuple[Level, ...], Field(min_length=1)]] = Field(
        description="levels of difficulty a computation is drawn from, repeats counting; all where not named"
    )


@dataclass(frozen=True, config=SECTION)
class ReferenceSettings:
    """All of data/reference/params.yaml."""

    architecture: Architecture
    recipe: Recipe
    phases: Annotated[tuple[Phase, ...], Field(min_length=1)]


def load(path: str | Path) -> ReferenceSettings:
    """Read and check the settings of the reference model.

    Raises:
        UserError: a missing, unknown or impossible setting, by name.
    """
    file = str(path)
    settings = validated(ReferenceSettings, parse(Path(path)), file)
    ends = [phase.until for phase in settings.phases]
    if ends != sorted(set(ends)):
        raise UserError("Each phase must end after the one before", found=ends, where=file, remedy="raise `until`")
    return settings
