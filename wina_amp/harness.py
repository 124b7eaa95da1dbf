"""The model `wina-amp` of lm-eval: a model of transformers with a profile set on it, on lm-eval's own tasks.

    import lm_eval
    from wina_amp.harness import SparseLM

    model = SparseLM(pretrained=folder, profile_set="data/profile_sets/kl", sparsity=0.5, device="cpu", dtype="float32")
    lm_eval.simple_evaluate(model, tasks=["arc_easy"])

Importing this module registers the name for lm-eval's `model="wina-amp"`. Needs the extra `lm-eval`.

Every request is routed by its prompt alone, and its continuation is masked as decoded tokens are, as in the study's own
evaluation. So a request takes two passes, one over the prompt and one over the continuation behind its cache, and none
is batched: lm-eval pads on the right and does not say where, which would be routed and masked like text.
"""

# lm-eval's decorators hide what HFLM is from type checkers.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

import logging
from collections import Counter
from typing import Any

import torch
from lm_eval.api.registry import register_model
from lm_eval.models.huggingface import HFLM
from torch import Tensor
from tqdm import tqdm

from wina_amp.names import AUTO, Prefill
from wina_amp.profile_set.profile_set import ProfileSet
from wina_amp.profile_set.sparsity import Sparsity, sparsify_

log = logging.getLogger(__name__)


@register_model("wina-amp")
class SparseLM(HFLM):
    """lm-eval's `HFLM` with a profile set.

    Args:
        profile_set: a set, its folder, or `owner/name` on the hub.
        sparsity: one of the set's targets.
        sparse_backend: see `sparsify_`; lm-eval's `backend` is another thing.
        prefill: see `sparsify_`.
        options: of `HFLM`; `pretrained` names the model.

    Attributes:
        sparse: the handle.
        groups: number of requests by name of their group.
    """

    def __init__(
        self,
        *,
        profile_set: ProfileSet | str,
        sparsity: float = 0.5,
        sparse_backend: str = AUTO,
        prefill: Prefill = "sparse",
        **options: Any,
    ) -> None:
        profiles = profile_set if isinstance(profile_set, ProfileSet) else ProfileSet.from_pretrained(profile_set)
        profiles.at(sparsity)  # before the model is loaded
        super().__init__(**options)
        model: Any = self.model
        self.sparse: Sparsity = sparsify_(model, profiles, sparsity=sparsity, backend=sparse_backend, prefill=prefill)
        self.groups: Counter[str] = Counter()

    def get_model_info(self) -> dict[str, Any]:
        """lm-eval's facts about the model, with the profile set, the sparsity and the groups of the requests."""
        sparse = self.sparse
        facts = {"profile_set": sparse.profiles.description.name, "sparsity": sparse.sparsity}
        return {**super().get_model_info(), **facts, "groups": dict(self.groups)}

    def _loglikelihood_tokens(
        self, requests: Any, disable_tqdm: bool = False, override_bs: int | None = None
    ) -> list[tuple[float, bool]]:
        scores: list[tuple[float, bool]] = []
        for key, prompt, continuation in tqdm(requests, disable=disable_tqdm, desc="Running loglikelihood requests"):
            # As HFLM: what does not fit is cut off in front, and the last token is predicted, never read.
            kept = (prompt + continuation)[-(self.max_length + 1) :]
            if len(kept) < len(prompt) + len(continuation):
                cut = len(prompt) + len(continuation) - len(kept)
                log.warning("%d tokens in front of a prompt are left out: the model takes %d", cut, self.max_length)
            score = self._scored(kept[: -len(continuation)], kept[-len(continuation) :])
            scores.append(score)
            if key is not None:
                self.cache_hook.add_partial("loglikelihood", key, score)
        return scores

    def _scored(self, prompt: list[int], continuation: list[int]) -> tuple[float, bool]:
        """The log-likelihood of a continuation behind its prompt, and whether greedy decoding would produce it."""
        model: Any = self.model
        output = model(self._row(prompt), use_cache=True)
        self._count()
        logits: Tensor = output.logits[0, -1:]
        if len(continuation) > 1:
            behind = model(self._row(continuation[:-1]), past_key_values=output.past_key_values)
            logits = torch.cat([logits, behind.logits[0]])
        tokens = torch.tensor(continuation, device=logits.device)
        logprobs = logits.float().log_softmax(dim=-1)
        total = float(logprobs.gather(1, tokens[:, None]).double().sum())
        return total, bool((logits.argmax(dim=-1) == tokens).all())

    def _model_generate(self, context: Any, max_length: int, stop: Any, **options: Any) -> Any:
        tokens = super()._model_generate(context, max_length, stop, **options)
        self._count()
        return tokens

    def _count(self) -> None:
        names = [group.name for group in self.sparse.profiles.description.groups]
        groups = self.sparse.groups
        self.groups.update(names[number] for number in ([] if groups is None else groups.tolist()))

    def _row(self, ids: list[int]) -> Tensor:
        return torch.tensor([ids], device=self.device)
