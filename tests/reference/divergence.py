"""Slow, obvious transcription of the divergence: one text at a time, whole sequences, masks by `score > threshold`."""

from __future__ import annotations

import torch

from wina_amp.models.projections import projections
from wina_amp.scoring.criteria import feature_weights


def divergence(loaded, texts, thresholds, criterion, dense_prefix):
    """Mean KL(dense || masked), nats, over the tokens that predict answers; `thresholds` by (block, projection)."""
    losses = []
    for text in texts:
        ids = torch.tensor([text.ids])
        asked = slice(len(text.prompt_ids) - 1, ids.shape[1] - 1)
        with torch.no_grad():
            dense = loaded.model(input_ids=ids).logits[0, asked].double().log_softmax(-1)
            weights = {p: feature_weights(criterion, p.module.weight, p.name) for p in projections(loaded.model)}
            handles = [
                p.module.register_forward_pre_hook(_mask(weights[p], thresholds[p.block, p.name], dense_prefix))
                for p in weights
            ]
            masked = loaded.model(input_ids=ids).logits[0, asked].double().log_softmax(-1)
            for handle in handles:
                handle.remove()
        losses += (dense.exp() * (dense - masked)).sum(dim=-1).tolist()
    return sum(losses) / len(losses)


def _mask(weights, threshold, first):
    def hook(_module, args):
        keep = args[0].abs() * weights > threshold
        keep[:, :first] = True
        return (torch.where(keep, args[0], 0.0),)

    return hook
