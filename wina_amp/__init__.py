"""WINA-AMP, the runtime: profile sets that make `generate()` of a language model sparse.

    from wina_amp import ProfileSet, sparsify_

    profiles = ProfileSet.from_pretrained("profile_sets/kl")
    with sparsify_(model, profiles, sparsity=0.5):  # a model of transformers with the weights that the set is for
        model.generate(**tokenizer(prompt, return_tensors="pt"))

`calibrate(model, tokenizer, texts)` makes a profile set of a model in memory; docs/api.md lists everything.

Importing this package loads neither torch nor transformers; the first use of a name other than `UserError` does.
Nothing here imports `pipeline`, the study that makes profile sets.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wina_amp.calibration.calibrate import calibrate
    from wina_amp.calibration.settings import CalibrationSettings
    from wina_amp.errors import UserError
    from wina_amp.profile_set.profile_set import ProfileSet
    from wina_amp.profile_set.sparsity import Sparsity, sparsify_

__all__ = ["ProfileSet", "sparsify_", "Sparsity", "calibrate", "CalibrationSettings", "UserError"]

_MODULES = {
    "CalibrationSettings": "wina_amp.calibration.settings",
    "ProfileSet": "wina_amp.profile_set.profile_set",
    "Sparsity": "wina_amp.profile_set.sparsity",
    "UserError": "wina_amp.errors",
    "calibrate": "wina_amp.calibration.calibrate",
    "sparsify_": "wina_amp.profile_set.sparsity",
}
"""Public name -> the module that defines it."""


def __getattr__(name: str) -> object:
    """Import a public name when it is first used."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
