"""`wina-amp bench`: how fast `generate()` decodes on this machine, dense and with a profile set, in turns.

Both models share their weights and run the same prompt, in an order that alternates, so that a machine that speeds up
or slows down does so for both. What is told are medians and quartiles over rounds, and whether the quartiles of the
ratio exclude 1: other programs, power limits and thermals move single rounds by more than sparsity may gain.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

import torch
from transformers import PreTrainedModel

from wina_amp.cli.loading import model_and_set
from wina_amp.cli.output import console, show_table
from wina_amp.cli.stopwatch import Stopwatch
from wina_amp.decode.interleaved import Spread, clock, ratios, spread, time_interleaved
from wina_amp.errors import UserError
from wina_amp.models.sharing import copy_sharing_weights
from wina_amp.profile_set.sparsity import sparsify_

PROMPT = "Once upon a time there was a machine that had to decide which of its wheels should turn. "
"""Any text will do: what is timed are the tokens behind it."""


def bench(
    model: str,
    path_or_repo: str,
    *,
    sparsity: float,
    prompt: str,
    tokens: int,
    rounds: int,
    threads: int | None,
    backend: str,
    dtype: str,
    revision: str,
) -> dict[str, Any]:
    """Milliseconds a decoded token, dense and sparse, their ratio, and what they were measured on.

    Args:
        model, path_or_repo, sparsity, dtype, revision: see `model_and_set`.
        prompt: what is continued.
        tokens: new tokens a round, at least 2.
        rounds: of both; two more warm up.
        threads: of torch and kernels, on a CPU; None leaves what is set.
        backend: see `sparsify_`.

    Raises:
        UserError: see `model_and_set` and `sparsify_`; prompt and tokens do not fit the context.
    """
    loaded, profiles = model_and_set(model, path_or_repo, sparsity=sparsity, dtype=dtype, revision=revision)
    if threads is not None:
        torch.set_num_threads(threads)
    tokenizer: Any = loaded.tokenizer
    given = tokenizer(prompt, return_tensors="pt", return_token_type_ids=False).to(loaded.device)
    width = given["input_ids"].shape[1]
    if not 0 < width <= loaded.context - tokens:
        must = f"The prompt and {tokens} new tokens must fit into the context of {loaded.context} tokens"
        raise UserError(must, found=f"a prompt of {width}", where="--prompt", remedy="shorten it, or lower --tokens")
    now = clock(loaded.device)
    dense = copy_sharing_weights(loaded.model)
    with sparsify_(loaded, profiles, sparsity=sparsity, backend=backend) as sparse:
        sparse.warmup()
        decoded: dict[str, list[float]] = {"dense": [], "sparse": []}

        def round_of(name: str, lm: PreTrainedModel) -> Callable[[], None]:
            return lambda: decoded[name].append(_seconds_per_token(lm, given, tokens, now))

        load_before = _load()
        rounds_of = {name: round_of(name, lm) for name, lm in (("dense", dense), ("sparse", loaded.model))}
        time_interleaved(rounds_of, rounds, now)
        groups: Any = sparse.groups
    counted = {name: seconds[-rounds:] for name, seconds in decoded.items()}
    ratio = ratios(counted["dense"], counted["sparse"])
    return {
        "model": model,
        "set": profiles.description.name,
        "sparsity": sparsity,
        "group": profiles.description.groups[int(groups[0])].name,
        "ms_per_token": {name: _rounded(spread([1000 * s for s in seconds])) for name, seconds in counted.items()},
        "speedup": _rounded(ratio),
        "verdict": _verdict(ratio),
        "rounds": rounds,
        "tokens": tokens,
        "prompt_tokens": width,
        "device": str(loaded.device),
        "dtype": dtype,
        "backend": backend,
        "threads": torch.get_num_threads(),
        "cores": os.cpu_count(),
        "load": load_before,
    }


def show(result: Mapping[str, Any]) -> None:
    """Write medians and quartiles, and what to make of them."""
    rows = [
        (name, *result["ms_per_token"][name].values(), 1000 / result["ms_per_token"][name]["median"])
        for name in ("dense", "sparse")
    ]
    title = f"{result['set']} at {result['sparsity']:g} on {result['device']}, {result['dtype']}, "
    title += f"{result['threads']} threads, {result['rounds']} rounds of {result['tokens']} tokens"
    columns = ("", "ms a token, median", "lower quartile", "upper quartile", "tokens a second")
    show_table(title, columns, [(row[0], *(f"{value:.2f}" for value in row[1:])) for row in rows])
    speedup = result["speedup"]
    console().print(
        f"speed-up {speedup['median']:.2f} (quartiles of rounds {speedup['low']:.2f} to {speedup['high']:.2f}): "
        f"{result['verdict']}",
        soft_wrap=True,
    )
    load, cores = result["load"], result["cores"]
    if load is not None and load > cores / 2:
        console().print(f"The machine was busy: load {load:.1f} on {cores} cores. Repeat it when it is quiet.")


def _seconds_per_token(lm: PreTrainedModel, given: Any, tokens: int, now: Callable[[], float]) -> float:
    watch, run = Stopwatch(now), lm
    options: dict[str, Any] = {"min_new_tokens": tokens, "max_new_tokens": tokens, "do_sample": False}
    generate: Any = run.generate
    generate(**given, **options, pad_token_id=0, streamer=watch)
    seconds = watch.seconds_per_token
    assert seconds is not None
    return seconds


def _verdict(ratio: Spread) -> str:
    if ratio.low <= 1 <= ratio.high:
        return "no difference beyond the noise of this machine"
    return "sparse is faster" if ratio.low > 1 else "sparse is slower"


def _rounded(values: Spread) -> dict[str, float]:
    return {name: round(value, 4) for name, value in asdict(values).items()}


def _load() -> float | None:
    """How many programs have wanted to run over the last minute; None where the system does not say."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else None
