"""Signatures of the first blocks, the features of the `scores` router, from a dense pass through these blocks alone.

The same numbers as capture's (`pipeline/capture/capture.py`, `wina_amp/scoring/signature.py`) up to the rounding of
sums: the mean over the eligible prompt tokens of |x_i| * s_i at every input of projections, normalised and projected,
input by input. The pass stops at the last input that is needed; its keys and values are not kept.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from threading import get_ident

import numpy as np
import torch
from jaxtyping import Float32, Int
from numpy import ndarray
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from wina_amp.errors import UserError
from wina_amp.masks.eligibility import eligible
from wina_amp.models.load import LoadedModel
from wina_amp.models.mask_sites import Tap
from wina_amp.models.projections import projections, sites
from wina_amp.scoring.criteria import influence
from wina_amp.scoring.signature import project


class FirstBlocks:
    """Signatures of the first blocks of a model that runs dense."""

    def __init__(self, loaded: LoadedModel, *, blocks: int, dim: int, seed: int, dense_prefix: int | float) -> None:
        self._loaded = loaded
        self._dim, self._seed, self._dense_prefix = dim, seed, dense_prefix
        self._sites = [site for site in sites(projections(loaded.model)) if site.block < blocks]
        self._influence = [influence(site) for site in self._sites]

    def __call__(self, prompts: Sequence[Int[ndarray, " tokens"]]) -> Float32[ndarray, "prompts features"]:
        """The signatures of every prompt, site after site.

        Raises:
            UserError: a prompt has no token behind the dense prefix.
        """
        lengths = torch.tensor([len(prompt) for prompt in prompts])
        ids = pad_sequence([torch.from_numpy(np.asarray(prompt, np.int64)) for prompt in prompts], batch_first=True)
        is_seen = eligible(lengths, lengths, ids.shape[1], self._dense_prefix)
        _refuse_empty(is_seen, lengths, self._dense_prefix)
        sums = self._sums(ids.to(self._loaded.device), is_seen)
        vectors = [
            project((total * factors).cpu().numpy(), seed=self._seed, block=site.block, site=site.name, dim=self._dim)
            for site, total, factors in zip(self._sites, sums, self._influence, strict=True)
        ]
        return np.concatenate(vectors, axis=1)

    def _sums(self, ids: Int[Tensor, "prompts width"], is_seen: Tensor) -> list[Float32[Tensor, "prompts features"]]:
        """The sum of |x| over the eligible tokens, for every input of projections."""
        sums: dict[int, Tensor] = {}
        thread = get_ident()

        def hook(number: int) -> Callable[[Tensor], None]:
            def see(x: Tensor) -> None:
                if get_ident() != thread:  # another thread runs the same blocks
                    return
                sums[number] = (x.float().abs() * is_seen.to(x.device)[:, :, None]).sum(dim=1)
                if len(sums) == len(self._sites):
                    raise _Enough

            return see

        with ExitStack() as stack, torch.inference_mode():
            for number, site in enumerate(self._sites):
                stack.callback(Tap(site.projections[0].module).register(hook(number)).remove)
            with suppress(_Enough):
                self._loaded.decoder(input_ids=ids, use_cache=False)
        return [sums[number] for number in range(len(self._sites))]


class _Enough(Exception):
    """Raised at the last input that is needed, to end the pass."""


def _refuse_empty(is_seen: Tensor, lengths: Tensor, dense_prefix: int | float) -> None:
    empty = ~is_seen.any(dim=1)
    if bool(empty.any()):
        row = int(empty.int().argmax())
        raise UserError(
            "Every prompt must have a token behind the dense prefix, because the router reads those",
            found=f"{int(lengths[row])} tokens, of which `dense_prefix: {dense_prefix}` keeps all dense",
            where=f"prompt {row} of the batch",
            remedy="use a longer prompt, or a profile set whose router reads embeddings",
        )
