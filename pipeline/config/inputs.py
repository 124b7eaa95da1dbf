"""Sections of params.yaml: the model, its samples, and which tokens are sparsified."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field, StrictBool, StrictFloat, StrictInt, StrictStr
from pydantic.dataclasses import dataclass

from pipeline.config.kinds import SECTION, Day, Line, Many, OneOf
from wina_amp.names import DEVICES, DTYPES, TOO_LONG, TRANSFORMS


@dataclass(frozen=True, config=SECTION)
class ModelSettings:
    """The model under study."""

    path: Line = Field(description="folder of a Hugging Face checkpoint (safetensors), or a hub id with `revision`")
    revision: Line | None = Field(description="commit of the hub checkpoint; null for a folder")
    dtype: Annotated[StrictStr, OneOf(DTYPES)] = Field(description="type the weights are loaded in")
    device: Annotated[StrictStr, OneOf(DEVICES)] = Field(
        description="where the model runs; auto takes a GPU if there is one, spread puts blocks on all GPUs"
    )
    transform: Annotated[StrictStr, OneOf(TRANSFORMS)] = Field(
        description="basis that attention and MLP read their inputs in; orthogonal (WINA's tensor transform) makes "
        "the columns of k and gate orthogonal, for two more products of hidden size by hidden size a block"
    )
    remote_code: StrictBool = Field(description="whether Python code of the checkpoint may be run")


@dataclass(frozen=True, config=SECTION)
class BenchmarkSettings:
    """The tasks that samples are taken from."""

    include: Line = Field(
        description="folder of lm-eval task YAMLs and of local files that are tasks (docs/tasks.md); tasks not "
        "found there are taken from lm-eval's own"
    )
    tasks: Many[Line] = Field(description="tasks that are evaluated: names of lm-eval tasks, groups or local files")
    calibration: Many[Line] | None = Field(
        description="tasks whose train samples profiles, groups and routers are fitted on, and no others; they need "
        "not be among `tasks`; null takes those of `tasks`"
    )
    train_samples: StrictInt = Field(ge=1, le=10**7, description="items per task for calibration")
    test_samples: StrictInt = Field(ge=1, le=10**7, description="held-out items per task, for development")
    confirmation_samples: StrictInt = Field(
        ge=0, le=10**7, description="held-out items per task that no development run draws; `commands.confirm` sets it"
    )
    limits: Mapping[Line, Annotated[StrictInt, Field(ge=1, le=10**7)]] = Field(
        description="the most held-out items of a split, by task, where the items of a task cost more than others'"
    )
    refit: StrictInt = Field(
        ge=0,
        le=1000,
        description="which draw of train items calibrates: 0 the first `train_samples` of a task, 1 the next, ...",
    )
    too_long: Annotated[StrictStr, OneOf(TOO_LONG)] = Field(
        description="an item longer than the model's context: refuse stops, leave_out takes the next item in its "
        "place and counts"
    )
    num_fewshot: StrictInt | None = Field(
        ge=0,
        le=1000,
        description="solved examples in front of every item; null keeps each task's own number, and a task that "
        "fixes 0 keeps 0",
    )
    chat_template: StrictBool = Field(
        description="put prompts into the tokenizer's chat template, solved examples as earlier turns"
    )
    chat_date: Day = Field(description="the date that a chat template is told when it asks for today's")
    text_context: StrictInt = Field(
        ge=1, le=10**6, description="text is cut into windows: words that are only read, not scored"
    )
    text_scored: StrictInt = Field(
        ge=1, le=10**6, description="words of a window behind those, whose likelihood is scored"
    )


@dataclass(frozen=True, config=SECTION)
class TokenSettings:
    """Which tokens are sparsified, and how many go through the model at once."""

    dense_prefix: Annotated[StrictInt, Field(ge=0, le=10**6)] | Annotated[StrictFloat, Field(ge=0, lt=1)] = Field(
        description="first tokens of every prompt that stay dense (attention sinks): a number of tokens, or a "
        "fraction of the prompt, rounded up"
    )
    batch: StrictInt = Field(ge=1, le=10**7, description="tokens per forward pass, padding included")
