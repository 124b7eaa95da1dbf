"""protocol.yaml as a frozen, validated object: what the confirmation split is for, fixed before it is run.

`check` refuses settings that draw or evaluate the confirmation split otherwise than the protocol says. That the file
was committed before, and that the split is run once, is the business of `commands/confirm.py`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from pydantic import Field, StrictFloat, StrictInt, StrictStr
from pydantic.dataclasses import dataclass

from pipeline.config.consistency import must_know
from pipeline.config.kinds import SECTION, Fraction, Line, Name
from pipeline.config.params import Settings, parse
from pipeline.config.validation import validated
from wina_amp.errors import UserError
from wina_amp.names import CONFIRMATION

PROTOCOL = "protocol.yaml"


@dataclass(frozen=True, config=SECTION)
class Question:
    """A comparison of two methods at one target."""

    method: StrictStr
    baseline: StrictStr
    target: Fraction


@dataclass(frozen=True, config=SECTION)
class Protocol:
    """All of protocol.yaml.

    Attributes:
        presets: of params.yaml as it is committed; together they are the settings that are confirmed.
        salt: of the order in which confirmation documents are drawn.
        samples: confirmation items per task.
        refits: how often everything is fitted, with other calibration samples and seeds.
        confidence: of the interval that decides.
        smallest: the smallest difference that matters, in points.
        questions: what is compared, by name.
    """

    presets: tuple[Name, ...]
    salt: Line
    samples: Annotated[StrictInt, Field(ge=1, le=10**7)]
    refits: Annotated[StrictInt, Field(ge=2, le=1000)]
    confidence: Fraction
    smallest: Annotated[StrictFloat, Field(gt=0, le=100)]
    questions: Annotated[Mapping[Name, Question], Field(min_length=1)]

    @property
    def digest(self) -> str:
        """SHA-256 of what the file says, whatever its comments and order."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()

    @property
    def methods(self) -> list[str]:
        """All methods that are compared, each once."""
        return list(dict.fromkeys(name for one in self.questions.values() for name in (one.method, one.baseline)))


def load(path: str | Path = PROTOCOL) -> Protocol:
    """Read and check the file.

    Raises:
        UserError: no such file, not YAML, or a value breaks a rule.
    """
    return validated(Protocol, parse(Path(path)), str(path))


def is_confirmation(settings: Settings) -> bool:
    """Whether settings draw or evaluate the confirmation split."""
    return settings.benchmark.confirmation_samples > 0 or CONFIRMATION in settings.evaluate.splits


def check(protocol: Protocol, settings: Settings) -> None:
    """Refuse settings under which the protocol's questions cannot be asked, or would be asked otherwise.

    Raises:
        UserError: an unknown method, a target that has no profiles, another number of samples, a refit too many.
    """
    for name, question in protocol.questions.items():
        for role in ("method", "baseline"):
            must_know("method", getattr(question, role), settings.methods, f"questions.{name}.{role}", PROTOCOL)
        if question.target not in settings.evaluate.targets:
            must, where = (
                "A question's target must be among `evaluate.targets`",
                f"`questions.{name}` in {PROTOCOL}",
            )
            known = ", ".join(f"{target:g}" for target in settings.evaluate.targets)
            raise UserError(
                must, f"{question.target:g}, not among {known}", where, "correct params.yaml, or its preset"
            )
    drawn = settings.benchmark.confirmation_samples
    if is_confirmation(settings) and drawn != protocol.samples:
        must = f"`benchmark.confirmation_samples` must be {protocol.samples}, as {PROTOCOL} says"
        remedy = "set it to 0, and leave the confirmation split to `python -m commands.confirm`"
        raise UserError(must, drawn, "params.yaml", remedy)
    if settings.benchmark.refit >= protocol.refits and is_confirmation(settings):
        must = f"`benchmark.refit` must be below {protocol.refits}, the refits of {PROTOCOL}"
        raise UserError(must, settings.benchmark.refit, "params.yaml", "set it to 0")
