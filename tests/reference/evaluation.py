"""Log-likelihoods and greedy decoding the obvious way: one sequence at a time, in full, without sharing or caching."""

from __future__ import annotations

from contextlib import nullcontext

import torch

from wina_amp.masks.eligibility import eligible


def _logits(loaded, runtime, group, prompt, rest, dense_prefix):
    """Log-probabilities `[tokens, vocabulary]` of the whole sequence, and what the masks kept."""
    sizes = torch.tensor([len(prompt)]), torch.tensor([len(prompt) + len(rest)])
    counted = eligible(*sizes, len(prompt) + len(rest), dense_prefix)
    rows = nullcontext() if runtime is None else runtime.rows(torch.tensor([group]), counted)
    with torch.inference_mode(), rows as counts:
        logits = loaded.model(input_ids=torch.tensor([[*prompt, *rest]])).logits[0]
    kept = None if counts is None else counts.kept[0]
    return torch.log_softmax(logits.double(), dim=-1), kept


def loglikelihood(loaded, runtime, group, prompt, continuation, dense_prefix=1):
    """(sum of the continuation's log-probabilities, whether each token is the most probable one)."""
    logprobs, _ = _logits(loaded, runtime, group, prompt, continuation[:-1], dense_prefix)
    predicting = logprobs[len(prompt) - 1 :]
    tokens = torch.tensor(continuation)
    return float(predicting.gather(1, tokens[:, None]).sum()), bool((predicting.argmax(dim=-1) == tokens).all())


def kept_by(loaded, runtime, group, prompt, continuations, dense_prefix=1):
    """Features kept per projection if the prompt runs once and every continuation (but its last token) once."""
    _, alone = _logits(loaded, runtime, group, prompt, [], dense_prefix)
    wholes = [_logits(loaded, runtime, group, prompt, tokens[:-1], dense_prefix)[1] for tokens in continuations]
    return alone + sum(whole - alone for whole in wholes)


def decode(loaded, runtime, group, prompt, max_tokens, dense_prefix=1):
    """Token ids decoded greedily, rerunning the whole sequence for every token; stops at EOS (which is included)."""
    tokens = []
    while len(tokens) < max_tokens and tokens[-1:] != [loaded.tokenizer.eos_token_id]:
        logprobs, _ = _logits(loaded, runtime, group, prompt, tokens, dense_prefix)
        tokens.append(int(logprobs[-1].argmax()))
    return tokens
