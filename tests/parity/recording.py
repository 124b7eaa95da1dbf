"""The compact recording of the authors' own code (`record.py` says what is in it), as a model and as their outputs."""

from __future__ import annotations

import json
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy import ndarray
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from tests.reference.released_greedy import histogram_key
from wina_amp.models.load import LoadedModel, load

FILE = Path(__file__).with_name("recording.npz")
WAYS = {
    f"{kind}|{allocation}": setting
    for kind, setting in (("threshold", "threshold"), ("topk", "set_sparsity"))
    for allocation in ("uniform", "greedy")
}
"""Kind of mask and allocation -> what their evaluation file calls the values that it was set to."""
MASKED_TOKENS = 60
"""First tokens of the input whose masks were kept."""


@cache
def arrays() -> dict[str, ndarray]:
    """Everything that was recorded."""
    with np.load(FILE) as file:
        return dict(file)


def below(prefix: str) -> dict[str, ndarray]:
    """What was recorded under a name, by the rest of the names."""
    return {name.removeprefix(f"{prefix}/"): array for name, array in arrays().items() if name.startswith(f"{prefix}/")}


@cache
def first_block_model() -> LoadedModel:
    """Their parity model cut off behind its first block, with the embeddings of the recorded tokens."""
    weights = {
        name: _weight(below(f"weight/{name}"))
        for name in dict.fromkeys(key.split("/")[1] for key in arrays() if key.startswith("weight/"))
    }
    tokens, hidden = weights["model.embed_tokens.weight"].shape
    config: Any = LlamaConfig.from_dict(json.loads(str(arrays()["config"])))
    config.num_hidden_layers, config.vocab_size = 1, tokens
    model = LlamaForCausalLM(config)
    weights |= {"lm_head.weight": torch.zeros(tokens, hidden), "model.norm.weight": torch.ones(hidden)}
    model.load_state_dict(weights)
    words = Tokenizer(models.WordLevel({f"t{number}": number for number in range(tokens)}, unk_token="t0"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        PreTrainedTokenizerFast(tokenizer_object=words, pad_token="t0").save_pretrained(folder)
        return load(folder, revision=None, dtype="float32", device="cpu")


def _weight(both: dict[str, ndarray]) -> torch.Tensor:
    together = np.stack([both["low"], both["high"]], axis=-1)
    return torch.from_numpy(together).view(torch.bfloat16).squeeze(-1).float()


class FirstBlock:
    """Greedy table, sequences and histograms of the first block, as `tests.reference.released_greedy` asks for them."""

    def table(self, mode: str, block: int) -> pd.DataFrame:
        """The greedy table."""
        _check(block)
        return pd.DataFrame(below(f"{mode}/table"))

    def sequences(self) -> list[list[int]]:
        """Token ids, in the numbering of `first_block_model`."""
        return [sequence.tolist() for sequence in below("sequence").values()]

    def histogram(self, mode: str, block: int, name: str) -> tuple[torch.Tensor, ...]:
        """Distinct scores and their counts. Only k and gate have norms: the others' scores are TEAL's."""
        _check(block)
        owner = mode if name in ("k", "gate") else "teal"
        recorded = below(f"{owner}/histogram")
        key = histogram_key(owner, name)
        return tuple(torch.from_numpy(recorded[f"{key}.{part}"]) for part in ("centers", "counts"))


def _check(block: int) -> None:
    if block != 0:
        raise ValueError(f"the compact recording holds block 0, asked for block {block}")
