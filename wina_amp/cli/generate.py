"""`wina-amp generate`: prompts continued by one model, dense and with a profile set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from wina_amp.cli.loading import model_and_set
from wina_amp.cli.output import show_table
from wina_amp.errors import UserError
from wina_amp.models.load import LoadedModel
from wina_amp.names import AUTO, Prefill
from wina_amp.profile_set.sparsity import sparsify_


def continuations(
    model: str,
    prompts: Sequence[str],
    path_or_repo: str,
    *,
    sparsity: float,
    tokens: int,
    prefill: Prefill = "sparse",
    backend: str = AUTO,
    dtype: str = "float32",
    revision: str = "main",
) -> dict[str, Any]:
    """The greedy continuation of every prompt, dense and sparse, with its group.

    Raises:
        UserError: what cannot be loaded, an unknown sparsity, prefill or backend, a model that the set was not made
            for, or a prompt without tokens.
    """
    loaded, profile_set = model_and_set(model, path_or_repo, sparsity=sparsity, dtype=dtype, revision=revision)
    rows = [_encoded(loaded, prompt, tokens) for prompt in prompts]
    given = _padded(loaded, rows)
    width = given["input_ids"].shape[1]
    lm: Any = loaded.model
    options = {"max_new_tokens": tokens, "do_sample": False, "pad_token_id": _pad(loaded)}

    dense = lm.generate(**given, **options)
    with sparsify_(loaded, profile_set, sparsity=sparsity, prefill=prefill, backend=backend) as sparse:
        sparsely = lm.generate(**given, **options)
        numbers: Any = sparse.groups
    groups = [profile_set.description.groups[number].name for number in numbers.tolist()]
    texts = [loaded.tokenizer.batch_decode(ids[:, width:], skip_special_tokens=True) for ids in (dense, sparsely)]
    answers = [
        {"prompt": prompt, "group": group, "dense": before, "sparse": after}
        for prompt, group, before, after in zip(prompts, groups, *texts, strict=True)
    ]
    return {"set": profile_set.description.name, "sparsity": sparsity, "answers": answers}


def _encoded(loaded: LoadedModel, prompt: str, tokens: int) -> list[int]:
    """The ids of a prompt, without an EOS that the tokenizer puts behind it: the answer follows, not another text."""
    tokenizer: Any = loaded.tokenizer
    row: list[int] = tokenizer(prompt)["input_ids"]
    if row and row[-1] == tokenizer.eos_token_id and not prompt.endswith(tokenizer.eos_token):
        row = row[:-1]
    embeddings: Any = loaded.model.get_input_embeddings()
    if not row:
        must, found = "Every prompt must have a token", repr(prompt)
    elif max(row) >= len(embeddings.weight):
        must, found = f"Every token must have one of {len(embeddings.weight)} embeddings", f"{max(row)} in {prompt!r}"
    elif len(row) + tokens > loaded.context:
        must = f"A prompt and its new tokens must fit into the context of {loaded.context} tokens"
        found = f"{len(row)} and {tokens}, for {prompt!r}"
    else:
        return row
    raise UserError(must, found=found, where="the prompts", remedy="correct it, leave it out, or lower --tokens")


def _padded(loaded: LoadedModel, rows: Sequence[list[int]]) -> dict[str, Tensor]:
    """Token ids and attention mask; a decoder continues the end of a row, so shorter prompts are padded in front."""
    width = max(map(len, rows))
    ids = [[_pad(loaded)] * (width - len(row)) + row for row in rows]
    mask = [[0] * (width - len(row)) + [1] * len(row) for row in rows]
    values = {"input_ids": torch.tensor(ids), "attention_mask": torch.tensor(mask)}
    return {name: value.to(loaded.device) for name, value in values.items()}


def _pad(loaded: LoadedModel) -> int:
    """Any token will do: the mask says what counts."""
    identifier: Any = loaded.tokenizer.pad_token_id
    return 0 if identifier is None else identifier


def show(result: Mapping[str, Any]) -> None:
    """Write the continuations side by side."""
    names = ("prompt", "group", "dense", "sparse")
    columns = (*names[:-1], f"sparse {result['sparsity']:g}")
    show_table(f"Profile set {result['set']}", columns, [[row[name] for name in names] for row in result["answers"]])
