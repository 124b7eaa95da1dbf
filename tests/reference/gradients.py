"""Slow, obvious transcription of the gradients: the ramp as a differentiable function, one text at a time."""

from __future__ import annotations

import torch

from wina_amp.models.projections import projections
from wina_amp.scoring.criteria import projection_weights


def ramp_mask(x, shift, weights, eligible, band):
    """The exact mask in value; a straight ramp over the band in derivative, shifted by the shift."""
    score = x.abs().float() * weights
    extent = torch.log(torch.tensor(band.above / band.below))
    ramp = ((torch.log(score.clamp_min(1e-30) / band.below) - shift * extent / band.width) / extent).clamp(0, 1)
    kept = torch.where(score.detach() > band.limit, x, 0)
    masked = kept + (x.detach() * (ramp - ramp.detach())).to(x.dtype)
    return torch.where(eligible, masked, x)


def gradients(loaded, texts, bands, criterion, dense_prefix):
    """The mean KL over the positions of the texts, and its derivative by the sparsity of every projection."""
    loss, by_sparsity, _ = all_gradients(loaded, texts, bands, criterion, dense_prefix)
    return loss, by_sparsity


def all_gradients(loaded, texts, bands, criterion, dense_prefix):
    """The same with the derivative by the log of every feature's weight, the threshold following: a weight that moves
    all scores of a band up by as much as the threshold changes no mask."""
    every = projections(loaded.model)
    shifts = torch.zeros(len(every), requires_grad=True)
    logs = [torch.zeros(p.in_features, requires_grad=True) for p in every]
    in_band = [torch.zeros(p.in_features) for p in every]
    total, positions = torch.zeros(()), 0
    for text in texts:
        ids = torch.tensor([text.ids[:-1]])
        asked = slice(len(text.prompt_ids) - 1, None)
        with torch.no_grad():
            dense = loaded.model(input_ids=ids).logits[0, asked].log_softmax(-1)

        def hook(number, p):
            weights, band = projection_weights(criterion, p), bands[number]

            def pre_hook(_module, args):
                eligible = torch.arange(args[0].shape[1])[:, None] >= dense_prefix
                score = args[0].detach().abs() * weights
                in_band[number] += (eligible & (score > band.below) & (score <= band.above)).sum(dim=(0, 1))
                return (ramp_mask(args[0], shifts[number], weights * logs[number].exp(), eligible, band),)

            return pre_hook

        handles = [p.module.register_forward_pre_hook(hook(number, p)) for number, p in enumerate(every)]
        masked = loaded.model(input_ids=ids).logits[0, asked].log_softmax(-1)
        for handle in handles:
            handle.remove()
        total = total + (dense.exp() * (dense - masked)).sum()
        positions += len(text.answer_ids)
    (total / positions).backward()
    by_weight = [log.grad - n / n.sum() * log.grad.sum() for log, n in zip(logs, in_band, strict=True)]
    return float(total.detach() / positions), shifts.grad.double().numpy(), by_weight
