"""What `calibrate` refuses before the first pass."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

from transformers import PreTrainedModel

from wina_amp.errors import UserError, unknown
from wina_amp.models.load import LoadedModel
from wina_amp.models.rotation import rotated_widths
from wina_amp.names import GREEDY, KL, TEAL, UNIFORM, WINA, WINA_RELEASED
from wina_amp.profile_set.identity import as_loaded
from wina_amp.profile_set.sparsity import check_ready
from wina_amp.tokens.samples import TokenizedSample

CRITERIA = (TEAL, WINA, WINA_RELEASED)
"""Those that need nothing but the model, and that sparse decoding can run."""

ALLOCATIONS = (UNIFORM, GREEDY, KL)


def checked_targets(sparsity: float | Sequence[float]) -> tuple[float, ...]:
    """The targets, ascending, each once.

    Raises:
        UserError: none, or one that is not between 0 and 1.
    """
    given = [sparsity] if isinstance(sparsity, int | float) else list(sparsity)
    targets = tuple(sorted({float(target) for target in given}))
    if not targets or not all(0 < target < 1 for target in targets):
        must, remedy = "`sparsity` must be fractions between 0 and 1", "write 0.5 for half of the weights"
        raise _refusal(must, str(sparsity), remedy)
    return targets


def refuse_names(criterion: str, allocation: str) -> None:
    """Refuse an unknown criterion or allocation; the known ones are listed.

    Raises:
        UserError: one of them is not known.
    """
    for kind, name, known in (("criterion", criterion, CRITERIA), ("allocation", allocation, ALLOCATIONS)):
        if name not in known:
            raise unknown(kind, name, known, f"`{kind}` of `calibrate`")


def refuse_numbers(samples: int, length: int, dense_prefix: int | float) -> None:
    """Refuse numbers that leave nothing to calibrate on.

    Raises:
        UserError: one of them is out of range.
    """
    if samples < 1:
        raise _refusal("`samples` must be at least 1", str(samples), "give a whole number")
    if length < 2:
        raise _refusal("`length` must be at least 2, for a prompt and its answer", str(length), "give more tokens")
    if not (0 <= dense_prefix < 1 or (isinstance(dense_prefix, int) and dense_prefix >= 1)):
        must = "`dense_prefix` must be a whole number, or a fraction below 1"
        raise _refusal(must, str(dense_prefix), "give a number of tokens, or a fraction of the prompt")


def checked_model(model: PreTrainedModel, name: str) -> LoadedModel:
    """The model as the packages below take it; `name` is that of the set to be made.

    Raises:
        UserError: no language model of a known family; a sparse, compiled, offloaded, rotated or training model.
    """
    loaded = as_loaded(model)
    check_ready(model, name)
    if model.training:
        raise _refusal("A model must be in eval mode to be calibrated", "train mode", "`model.eval()`")
    if rotated_widths(loaded):
        raise _refusal("A model must not be rotated to be calibrated here", "rotated inputs", "load it as it is")
    return loaded


def checked_texts(texts: Sequence[TokenizedSample], groups: int, loaded: LoadedModel) -> None:
    """Refuse samples that the model cannot read, and numbers of groups that they, or this environment, do not allow.

    Raises:
        UserError: a token without an embedding; `groups` out of range; groups without scikit-learn.
    """
    embeddings: Any = loaded.model.get_input_embeddings()
    highest, known = max(max(text.ids) for text in texts), len(embeddings.weight)
    if highest >= known:
        raise _refusal(
            f"Every token must have one of {known} embeddings", str(highest), "pass the model's own tokenizer"
        )
    if not 1 <= groups <= len(texts):
        must = f"`groups` must be a number from 1 to {len(texts)}, that of the samples"
        raise _refusal(must, str(groups), "lower it, or give more samples")
    if groups > 1 and find_spec("sklearn") is None:
        must, remedy = "`groups` above 1 needs scikit-learn", 'install it: pip install "wina-amp[calibrate]"'
        raise _refusal(must, "it is not installed", remedy)


def _refusal(must: str, found: str, remedy: str) -> UserError:
    return UserError(must, found=found, where="an argument of `calibrate`", remedy=remedy)
