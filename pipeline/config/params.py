"""params.yaml as frozen, validated settings: the only reader of YAML, and what other modules import.

`load` checks every value first (`pipeline/config/fields.py`) and then what the sections must satisfy together
(`pipeline/config/consistency.py`). The file is read by the same parser as DVC's, so that both see the same numbers.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from pipeline.config.consistency import (
    check_names,
    check_together,
    pooled_kl,
    refusal,
    why_not_decoded,
    why_not_exported,
)
from pipeline.config.fields import as_mapping, build, check
from pipeline.config.sections import (
    ALGORITHMS,
    ALLOCATIONS,
    BENEFIT,
    CRITERIA,
    DENSE,
    GATE_CRITERIA,
    GRADIENT_SCHEMES,
    GREEDY_SEARCHES,
    LEARNED,
    LEARNED_SCHEMES,
    MASKS,
    NAMED_SECTIONS,
    NO_TRANSFORM,
    ORDER,
    ROUTERS,
    SCHEME_LIST,
    SCHEMES,
    SECTIONS,
    SEED,
    TOO_LONG,
    TRANSFORMS,
    AllocateSettings,
    BenchmarkSettings,
    CaptureSettings,
    ClusterSettings,
    EvaluateSettings,
    ExportSettings,
    GradientSettings,
    LearnSettings,
    MethodSettings,
    ModelSettings,
    PrimarySettings,
    ProfileSettings,
    ReportSettings,
    RouterSettings,
    RouteSettings,
    Settings,
    TokenSettings,
)
from wina_amp.errors import unknown

__all__ = [
    "ALGORITHMS",
    "ALLOCATIONS",
    "AllocateSettings",
    "BenchmarkSettings",
    "CRITERIA",
    "CaptureSettings",
    "ClusterSettings",
    "DENSE",
    "PrimarySettings",
    "EvaluateSettings",
    "ExportSettings",
    "BENEFIT",
    "GATE_CRITERIA",
    "GRADIENT_SCHEMES",
    "GREEDY_SEARCHES",
    "GradientSettings",
    "LEARNED",
    "LEARNED_SCHEMES",
    "LearnSettings",
    "MASKS",
    "MethodSettings",
    "ModelSettings",
    "NAMED_SECTIONS",
    "NO_TRANSFORM",
    "ORDER",
    "PARAMS",
    "ProfileSettings",
    "ROUTERS",
    "ReportSettings",
    "RouteSettings",
    "RouterSettings",
    "SCHEMES",
    "SCHEME_LIST",
    "SECTIONS",
    "SEED",
    "Settings",
    "TOO_LONG",
    "TRANSFORMS",
    "TokenSettings",
    "load",
    "parse",
    "pooled_kl",
    "why_not_decoded",
    "why_not_exported",
]

PARAMS = "params.yaml"

T = TypeVar("T")


def load(path: str | Path = PARAMS) -> Settings:
    """Read and check `path`.

    Raises:
        UserError: no such file, not YAML, or a value breaks a rule; names `section.key`, the file and a remedy.
    """
    file = str(path)
    values = as_mapping(parse(Path(path)), "params", file)
    for key in values:
        if key not in ORDER:
            raise unknown("section", key, ORDER, file)
    missing = [key for key in ORDER if key not in values]
    if missing:
        raise refusal(f"{file} must have the sections {', '.join(ORDER)}", f"no {', '.join(missing)}", file, "add them")
    checked: dict[str, Any] = {name: build(cls, values[name], name, file) for name, cls in SECTIONS.items()}
    checked |= {name: _build_named(cls, values[name], name, file) for name, cls in NAMED_SECTIONS.items()}
    checked["seed"] = check(values["seed"], int, SEED, "seed", file)
    checked["schemes"] = check(values["schemes"], tuple[str, ...], SCHEME_LIST, "schemes", file)
    settings = Settings(**checked)
    check_together(settings, file)
    return replace(settings, methods={DENSE: MethodSettings(None, None, None), **settings.methods})


def parse(path: Path) -> object:
    """The content of a YAML file, with a clear error where it is missing or broken."""
    try:
        return YAML(typ="safe").load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        remedy = "run from the repository root; `git checkout params.yaml` restores the file"
        raise refusal("The settings file must exist", "no such file", str(path.absolute()), remedy) from None
    except (YAMLError, UnicodeDecodeError) as error:
        found = " ".join(str(error).split())
        raise refusal("The settings file must be valid YAML", found, str(path), "correct the syntax") from error


def _build_named(cls: type[T], values: object, section: str, file: str) -> dict[str, T]:
    """A section whose keys are names of the user's choice."""
    named = as_mapping(values, section, file)
    check_names(named, section, file)
    return {name: build(cls, values, f"{section}.{name}", file) for name, values in named.items()}
