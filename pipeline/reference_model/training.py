"""Training the reference model: Muon for the blocks' matrices, AdamW for the rest, rates linear within each phase.

Muon (`pipeline.reference_model.muon`) was ahead of AdamW after the same number of tokens (docs/log.md has the figures),
which matters on a CPU. fp32 throughout: bf16 matrix products are forty times slower than fp32 ones on CPUs without bf16
instructions.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from pipeline.reference_model.batches import Batch, batches
from pipeline.reference_model.muon import Muon
from pipeline.reference_model.recipe import Architecture, Phase, Recipe
from pipeline.storage.parts import Parts
from pipeline.tasks.embedded.tokenizer import BOS, EOS, PAD, token_id

CHECKPOINT = "checkpoint.pt"
"""The part with the whole state."""

_REPORT_EVERY, _SAVE_EVERY = 50, 250


@dataclass(frozen=True)
class Progress:
    """One line of the training log. `loss` is the mean over the answers' tokens since the last line, in nats."""

    step: int
    tokens: int
    seconds: float
    loss: float
    learning_rate: float


@dataclass(frozen=True)
class _State:
    step: int = 0
    tokens: int = 0
    seconds: float = 0.0


def build(architecture: Architecture, tokenizer: PreTrainedTokenizerFast, seed: int) -> LlamaForCausalLM:
    """The untrained model, initialised from `seed`."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=architecture.hidden,
        intermediate_size=architecture.intermediate,
        num_hidden_layers=architecture.blocks,
        num_attention_heads=architecture.heads,
        num_key_value_heads=architecture.kv_heads,
        max_position_embeddings=architecture.context,
        bos_token_id=token_id(tokenizer, BOS),
        eos_token_id=token_id(tokenizer, EOS),
        pad_token_id=token_id(tokenizer, PAD),
        tie_word_embeddings=False,
    )
    return LlamaForCausalLM(config)


def train(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    recipe: Recipe,
    phases: Sequence[Phase],
    report: Callable[[Progress], None],
    parts: Parts,
) -> list[Progress]:
    """Train in place until the last phase's tokens are spent; returns the log.

    A line is added to the log every 50 steps and at the end, and `report` is called with it. Every 250 steps the whole
    state is saved as a part; where it is there, training goes on from it and ends with the same weights and log as an
    uninterrupted run, but for the seconds.
    """
    device = next(model.parameters()).device
    optimizers = _optimizers(model, recipe)
    state, log = _State(), list[Progress]()
    if parts.has(CHECKPOINT):
        state, log = _restore(parts.path(CHECKPOINT), model, optimizers)
    model.train()
    started = time.monotonic() - state.seconds
    total, counted, budget = torch.zeros((), device=device), 0, phases[-1].until
    for batch in itertools.islice(batches(tokenizer, recipe, phases), state.step, None):
        factor = schedule(state.tokens, recipe.warmup, phases)
        for optimizer, peak in zip(optimizers, (recipe.muon_lr, recipe.adam_lr), strict=True):
            optimizer.param_groups[0]["lr"] = peak * factor
        loss, answer_loss = losses(model, batch, device)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        total, counted = total + answer_loss, counted + 1
        state = _State(state.step + 1, state.tokens + batch.tokens, time.monotonic() - started)
        done = state.tokens >= budget
        if state.step % _REPORT_EVERY == 0 or done:
            loss_since = float(total) / counted
            log.append(Progress(state.step, state.tokens, state.seconds, loss_since, recipe.muon_lr * factor))
            report(log[-1])
            total, counted = torch.zeros((), device=device), 0
        if state.step % _SAVE_EVERY == 0:
            _save(parts, state, log, model, optimizers)
    model.eval()
    return log


def schedule(tokens: int, warmup: int, phases: Sequence[Phase]) -> float:
    """Fraction of the peak learning rates after `tokens` tokens: linear within each phase, but no higher than the line
    that reaches 1 after `warmup` tokens."""
    begins = [0, *(phase.until for phase in phases)]
    number = next((i for i, phase in enumerate(phases) if tokens < phase.until), len(phases) - 1)
    start, end = phases[number].rate
    progress = (tokens - begins[number]) / (phases[number].until - begins[number])
    return min(start + (end - start) * min(progress, 1.0), max(tokens / warmup, 0.01))


def losses(model: LlamaForCausalLM, batch: Batch, device: torch.device) -> tuple[Tensor, Tensor]:
    """(weighted loss that is trained on, mean loss over answer tokens), in nats."""
    ids, weights = batch.ids.to(device), batch.weights.to(device)[:, 1:]
    logits = model(input_ids=ids[:, :-1], use_cache=False).logits
    each = functional.cross_entropy(logits.flatten(0, 1).float(), ids[:, 1:].flatten(), reduction="none").view(
        weights.shape
    )
    answers = weights == 1
    return (each * weights).sum() / weights.sum(), (each * answers).sum().detach() / answers.sum()


def _optimizers(model: LlamaForCausalLM, recipe: Recipe) -> list[torch.optim.Optimizer]:
    matrices = [tensor for name, tensor in model.named_parameters() if tensor.ndim == 2 and ".layers." in name]
    chosen = {id(tensor) for tensor in matrices}
    others = [tensor for tensor in model.parameters() if id(tensor) not in chosen]
    muon = Muon(matrices, lr=recipe.muon_lr, weight_decay=recipe.weight_decay)
    return [muon, torch.optim.AdamW(others, lr=recipe.adam_lr, betas=(0.9, 0.95), weight_decay=0.0)]


def _save(
    parts: Parts,
    state: _State,
    log: list[Progress],
    model: LlamaForCausalLM,
    optimizers: list[torch.optim.Optimizer],
) -> None:
    whole = {
        "state": asdict(state),
        "log": [asdict(line) for line in log],
        "model": model.state_dict(),
        "optimizers": [each.state_dict() for each in optimizers],
    }
    with parts.writing(CHECKPOINT) as path:
        torch.save(whole, path)


def _restore(
    checkpoint: Path, model: LlamaForCausalLM, optimizers: list[torch.optim.Optimizer]
) -> tuple[_State, list[Progress]]:
    whole = torch.load(checkpoint, weights_only=True)
    model.load_state_dict(whole["model"])
    for optimizer, saved in zip(optimizers, whole["optimizers"], strict=True):
        optimizer.load_state_dict(saved)
    return _State(**whole["state"]), [Progress(**line) for line in whole["log"]]
