"""A study's protocol.yaml as a frozen, validated object: what the confirmation split is for, fixed before it is run.

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

STUDIES = "docs/studies"


@dataclass(frozen=True, config=SECTION)
class Question:
    """A comparison of two methods at one target.

    Attributes:
        method, baseline: names in `methods`.
        target: where they are compared.
        perplexity_percent: the question is about the perplexity of text instead of accuracy, and this is the smallest
            difference that matters, in percent of it.
    """

    method: StrictStr
    baseline: StrictStr
    target: Fraction
    perplexity_percent: Annotated[StrictFloat, Field(gt=0, le=100)] | None = None


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
        controls: methods that are evaluated beside them, of the first fit and at the first question's target only, and
            the method that each is compared with.
    """

    presets: tuple[Name, ...]
    salt: Line
    samples: Annotated[StrictInt, Field(ge=1, le=10**7)]
    refits: Annotated[StrictInt, Field(ge=2, le=1000)]
    confidence: Fraction
    smallest: Annotated[StrictFloat, Field(gt=0, le=100)]
    questions: Annotated[Mapping[Name, Question], Field(min_length=1)]
    controls: Mapping[Name, StrictStr] | None = None

    @property
    def digest(self) -> str:
        """SHA-256 of what the file says, whatever its comments and order."""
        said = asdict(self, dict_factory=lambda pairs: {name: value for name, value in pairs if value is not None})
        return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()

    @property
    def methods(self) -> list[str]:
        """All methods that questions compare, each once."""
        return list(dict.fromkeys(name for one in self.questions.values() for name in (one.method, one.baseline)))

    def evaluated(self, refit: int) -> list[str]:
        """The methods that a refit must evaluate: with the first fit, controls as well."""
        pairs = (self.controls or {}).items() if refit == 0 else ()
        return list(dict.fromkeys([*self.methods, *(name for pair in pairs for name in pair)]))


def file_of(study: str) -> str:
    """The protocol of a study, from the repository's root."""
    return f"{STUDIES}/{study}/protocol.yaml"


def load(path: str | Path) -> Protocol:
    """Read and check the file.

    Raises:
        UserError: no such file, not YAML, or a value breaks a rule.
    """
    return validated(Protocol, parse(Path(path)), str(path))


def is_confirmation(settings: Settings) -> bool:
    """Whether settings draw or evaluate the confirmation split."""
    return settings.benchmark.confirmation_samples > 0 or CONFIRMATION in settings.evaluate.splits


def check(protocol: Protocol, settings: Settings) -> None:
    """Refuse settings under which the protocol of their study cannot be asked, or would be asked otherwise.

    Raises:
        UserError: an unknown method, a target that has no profiles, another number of samples, a refit too many.
    """
    file = file_of(settings.study)
    for name, question in protocol.questions.items():
        for role in ("method", "baseline"):
            must_know("method", getattr(question, role), settings.methods, f"questions.{name}.{role}", file)
        if question.target not in settings.evaluate.targets:
            must, where = "A question's target must be among `evaluate.targets`", f"`questions.{name}` in {file}"
            known = ", ".join(f"{target:g}" for target in settings.evaluate.targets)
            raise UserError(
                must, f"{question.target:g}, not among {known}", where, "correct params.yaml, or its preset"
            )
    for pair in (protocol.controls or {}).items():
        for method in pair:
            must_know("method", method, settings.methods, f"controls.{pair[0]}", file)
    drawn = settings.benchmark.confirmation_samples
    if is_confirmation(settings) and drawn != protocol.samples:
        must = f"`benchmark.confirmation_samples` must be {protocol.samples}, as {file} says"
        remedy = "set it to 0, and leave the confirmation split to `python -m commands.confirm`"
        raise UserError(must, drawn, "params.yaml", remedy)
    if settings.benchmark.refit >= protocol.refits and is_confirmation(settings):
        must = f"`benchmark.refit` must be below {protocol.refits}, the refits of {file}"
        raise UserError(must, settings.benchmark.refit, "params.yaml", "set it to 0")
