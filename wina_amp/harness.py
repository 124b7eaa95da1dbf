"""The model `wina-amp` of lm-eval: a model of transformers with a profile set on it, on lm-eval's own tasks.

    import lm_eval
    from wina_amp.harness import SparseLM

    model = SparseLM(pretrained=folder, profile_set="data/profile_sets/kl", sparsity=0.5, device="cpu", dtype="float32")
    lm_eval.simple_evaluate(model, tasks=["arc_easy"])

Importing this module registers the name for lm-eval's `model="wina-amp"`. Needs the extra `lm-eval`.

Every request is routed by its prompt alone, and its continuation is masked as decoded tokens are, in a pass and when it
is generated, as in the study's own evaluation. All continuations of a prompt share its pass (`Sparsity.score`); prompts
are not batched, except by generation with lm-eval's `batch_size`. Whole texts, lm-eval's rolling log-likelihoods, have
no prompt to be routed by: they need a set of one group, or `group=`.
"""

# lm-eval's decorators hide what HFLM is from type checkers.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from typing import Any

from lm_eval.api.registry import register_model
from lm_eval.models.huggingface import HFLM
from tqdm import tqdm

from wina_amp.errors import UserError
from wina_amp.names import AUTO, Prefill
from wina_amp.profile_set.profile_set import ProfileSet
from wina_amp.profile_set.sparsity import Sparsity, sparsify_

log = logging.getLogger(__name__)

LIKELIHOOD, ROLLING, GENERATION = "loglikelihood", "loglikelihood_rolling", "generate_until"
"""The kinds of requests, by the names of lm-eval's methods."""


@register_model("wina-amp")
class SparseLM(HFLM):
    """lm-eval's `HFLM` with a profile set.

    Args:
        profile_set: a set, its folder, or `owner/name` on the hub.
        sparsity: one of the set's targets.
        group: see `sparsify_`; None routes every prompt.
        sparse_backend: see `sparsify_`; lm-eval's `backend` is another thing.
        prefill: see `sparsify_`.
        options: of `HFLM`; `pretrained` names the model.

    Attributes:
        sparse: the handle.
        groups: number of prompts by name of their group.
    """

    def __init__(
        self,
        *,
        profile_set: ProfileSet | str,
        sparsity: float = 0.5,
        group: int | str | None = None,
        sparse_backend: str = AUTO,
        prefill: Prefill = "sparse",
        **options: Any,
    ) -> None:
        profiles = profile_set if isinstance(profile_set, ProfileSet) else ProfileSet.from_pretrained(profile_set)
        profiles.at(sparsity)  # before the model is loaded
        super().__init__(**options)
        model: Any = self.model
        self.sparse: Sparsity = sparsify_(
            model, profiles, sparsity=sparsity, backend=sparse_backend, prefill=prefill, group=group, measure=True
        )
        self.groups: Counter[str] = Counter()
        self._is_routed = profiles.router is not None and group is None
        self._kind = LIKELIHOOD
        self._tokens: Counter[str] = Counter()
        self._skipped: dict[str, float] = defaultdict(float)

    @property
    def realised_sparsity(self) -> dict[str, float | None]:
        """The fraction of the projections' weights that eligible tokens skipped, by kind of request, and of `all`."""
        tokens, skipped = dict(self._tokens), dict(self._skipped)
        if tokens:
            tokens["all"], skipped["all"] = sum(tokens.values()), sum(skipped.values())
        return {kind: skipped[kind] / count if count else None for kind, count in tokens.items()}

    @property
    def _base(self) -> Any:
        return super()

    def get_model_info(self) -> dict[str, Any]:
        """lm-eval's facts about the model, with the profile set, the sparsity and the groups of the prompts."""
        sparse = self.sparse
        facts = {"profile_set": sparse.profiles.description.name, "sparsity": sparse.sparsity}
        facts |= {"realised_sparsity": self.realised_sparsity, "groups": dict(self.groups)}
        return {**super().get_model_info(), **facts}

    def loglikelihood(self, requests: Any, disable_tqdm: bool = False) -> list[tuple[float, bool]]:
        """Log-likelihood of each continuation, and whether it is the greedy one."""
        self._kind = LIKELIHOOD
        return self._base.loglikelihood(requests, disable_tqdm)

    def loglikelihood_rolling(self, requests: Any, disable_tqdm: bool = False) -> list[float]:
        """Log-likelihood of each whole text.

        Raises:
            UserError: the profile set routes prompts, of which a text has none.
        """
        if self._is_routed:
            raise UserError(
                "A whole text has no prompt that could be routed",
                found=f"rolling log-likelihoods, and a profile set of {len(self.sparse.profiles.description.groups)} "
                "groups",
                where=f"task {requests[0].task_name}",
                remedy="choose the profile (`group=`, on the command line `--group`), or take a set of one group",
            )
        self._kind = ROLLING
        return self._base.loglikelihood_rolling(requests, disable_tqdm)

    def generate_until(self, requests: Any, disable_tqdm: bool = False) -> list[str]:
        """The continuation of each prompt."""
        self._kind = GENERATION
        return self._base.generate_until(requests, disable_tqdm)

    def _loglikelihood_tokens(
        self, requests: Any, disable_tqdm: bool = False, override_bs: int | None = None
    ) -> list[tuple[float, bool]]:
        numbers: dict[tuple[int, ...], dict[tuple[int, ...], list[int]]] = {}
        for number, (_, prompt, continuation) in enumerate(requests):
            kept = self._fitting(prompt, continuation)
            of_prompt = numbers.setdefault(tuple(kept[: -len(continuation)]), {})
            of_prompt.setdefault(tuple(continuation), []).append(number)
        scores: list[tuple[float, bool]] = [(0.0, False)] * len(requests)
        with tqdm(total=len(requests), disable=disable_tqdm, desc=f"Running {self._kind} requests") as progress:
            for prompt, of_prompt in numbers.items():
                scored = self.sparse.score(prompt, list(of_prompt))
                self._count()
                for own, score in zip(of_prompt.values(), scored, strict=True):
                    for number in own:
                        scores[number] = score
                    progress.update(len(own))
        for (key, _, _), score in zip(requests, scores, strict=True):
            if key is not None:
                self.cache_hook.add_partial(self._kind, key, score)
        return scores

    def _fitting(self, prompt: list[int], continuation: list[int]) -> list[int]:
        """What the model takes, as in HFLM: the last token is predicted and never read, and the front is cut off."""
        if not 1 <= len(continuation) <= self.max_length:
            raise UserError(
                f"A continuation must have at least one token, and at most the {self.max_length} that the model takes",
                found=f"{len(continuation)} tokens",
                where="a request of lm-eval",
                remedy="correct the task, or raise `max_length` where the model takes more",
            )
        both = prompt + continuation
        kept = both[-(self.max_length + 1) :]
        if len(kept) < len(both):
            cut = len(both) - len(kept)
            log.warning("%d tokens in front of a prompt are left out: the model takes %d", cut, self.max_length)
        return kept

    def _model_generate(self, context: Any, max_length: int, stop: Any, **options: Any) -> Any:
        tokens = super()._model_generate(context, max_length, stop, **options)
        self._count()
        return tokens

    def _count(self) -> None:
        """Add the last call to the counts."""
        names = [group.name for group in self.sparse.profiles.description.groups]
        groups, tokens = self.sparse.groups, self.sparse.eligible_tokens
        assert groups is not None and tokens is not None
        self.groups.update(names[number] for number in groups.tolist())
        self._tokens[self._kind] += tokens
        self._skipped[self._kind] += tokens * (self.sparse.realised_sparsity or 0.0)
