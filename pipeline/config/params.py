"""params.yaml as frozen, validated settings: the only reader of YAML.

`load` checks every value first (`pipeline/config/validation.py`) and then what the sections must satisfy together
(`pipeline/config/consistency.py`). The file is read by the same parser as DVC's, so that both see the same numbers.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, StrictInt, StrictStr
from pydantic.dataclasses import dataclass
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from pipeline.config.consistency import check_together
from pipeline.config.inputs import BenchmarkSettings, ModelSettings, TokenSettings
from pipeline.config.kinds import SECTION, Many, Name, OneOf
from pipeline.config.methods import (
    EvaluateSettings,
    ExportSettings,
    LatencySettings,
    MethodSettings,
    ReportSettings,
    RouteSettings,
)
from pipeline.config.profiles import (
    AllocateSettings,
    CaptureSettings,
    ClusterSettings,
    GradientSettings,
    LearnSettings,
    ProfileSettings,
    ThresholdSettings,
)
from pipeline.config.validation import validated
from wina_amp.errors import UserError
from wina_amp.names import SCHEMES

PARAMS = "params.yaml"


@dataclass(frozen=True, config=SECTION)
class Settings:
    """All of params.yaml."""

    seed: Annotated[StrictInt, Field(ge=0, le=2**31 - 1, description="seed of everything random")]
    study: Annotated[
        Name,
        Field(description="folder below docs/studies whose protocol.yaml says what is confirmed, and how it is drawn"),
    ]
    model: ModelSettings
    benchmark: BenchmarkSettings
    tokens: TokenSettings
    learn: LearnSettings
    capture: CaptureSettings
    cluster: ClusterSettings
    schemes: Annotated[
        Many[Annotated[StrictStr, OneOf(SCHEMES)]],
        Field(description="ways to assign samples to groups that are computed"),
    ]
    allocate: AllocateSettings
    gradient: GradientSettings
    thresholds: ThresholdSettings
    profiles: dict[Name, ProfileSettings]
    route: RouteSettings
    evaluate: EvaluateSettings
    methods: dict[Name, MethodSettings]
    export: ExportSettings
    latency: LatencySettings
    report: ReportSettings


def load(path: str | Path = PARAMS) -> Settings:
    """Read and check `path`.

    Raises:
        UserError: no such file, not YAML, or a value breaks a rule; names `section.key`, the file and a remedy.
    """
    file = str(path)
    settings = validated(Settings, parse(Path(path)), file)
    check_together(settings, file)
    return settings


def parse(path: Path) -> object:
    """The content of a YAML file, with a clear error where it is missing or broken."""
    try:
        return YAML(typ="safe").load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(
            "The settings file must exist",
            found="no such file",
            where=str(path.absolute()),
            remedy="run from the repository root; `git checkout params.yaml` restores the file",
        ) from None
    except OSError as error:
        raise UserError(
            "The settings file must be readable",
            found=error.strerror or type(error).__name__,
            where=str(path.absolute()),
            remedy="correct its permissions; `git checkout params.yaml` restores the file",
        ) from error
    except (YAMLError, ValueError, RecursionError) as error:  # ValueError: bytes that are no text, numbers too long
        raise UserError(
            "The settings file must be valid YAML",
            found=" ".join(str(error).split()),
            where=str(path),
            remedy="correct the syntax",
        ) from error
