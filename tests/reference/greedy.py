"""Slow, obvious transcriptions: TEAL's Algorithm 1, and the error of a masked block from scratch.

The block error runs the whole model, replaces the block's input by the dense one, and masks with `score > threshold`
comparisons in hooks: no sharing, no cutoffs, no re-assembled block.
"""

from __future__ import annotations

import math

import numpy as np
import torch


def greedy(costs, step, stop, error):
    """Rounds of (sparsities, error) until the weighted mean is at least `stop`; `error` takes sparsities."""
    sparsity = [0.0] * len(costs)
    path = [(list(sparsity), error(sparsity))]
    while np.average(sparsity, weights=costs) < stop - 1e-9:
        best = None
        for p in range(len(costs)):
            if sparsity[p] > 1 - 1e-9:
                continue
            tried = list(sparsity)
            tried[p] = min(1.0, tried[p] + step * costs[0] / costs[p])
            after = error(tried)
            if best is None or after < best[1] - 1e-12:
                best = (tried, after)
        sparsity = best[0]
        path.append(best)
    return path


def block_error(loaded, layer, projections, weights, thresholds, texts, dense_prefix, measured_fraction):
    """Relative Frobenius error over measured tokens, one text at a time."""
    above = below = 0.0
    for text in texts:
        ids = torch.tensor([text.ids])
        first = min(dense_prefix, len(text.prompt_ids))
        measured = ids.shape[1] - math.ceil(measured_fraction * (ids.shape[1] - first))
        dense = _block_output(loaded, layer, ids, {})
        masks = {p.module: (weights[p.name], thresholds[p.name], first) for p in projections}
        masked = _block_output(loaded, layer, ids, masks)
        above += float((masked - dense)[0, measured:].double().square().sum())
        below += float(dense[0, measured:].double().square().sum())
    return math.sqrt(above / below)


def _block_output(loaded, layer, ids, masks):
    seen = {}

    def mask(module, args):
        weight, threshold, first = masks[module]
        keep = args[0].abs() * weight > threshold
        keep[:, :first] = True
        return (args[0] * keep,)

    handles = [module.register_forward_pre_hook(mask) for module in masks]
    handles.append(layer.register_forward_hook(lambda _m, _a, output: seen.update(output=output)))
    with torch.no_grad():
        loaded.decoder(input_ids=ids, use_cache=False)
    for handle in handles:
        handle.remove()
    return seen["output"]
