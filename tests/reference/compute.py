"""Operations counted one multiplication and one addition at a time, by walking tokens, projections and features."""

from __future__ import annotations


def count(projections, blocks, heads, head_dim, hidden, vocabulary, tokens, rotations=()):
    """Operations of one sample.

    `projections` lists (d_in, d_out); a token is a dict with `context` (positions attended to), `predicts` (whether
    lm_head runs), and `kept`: None where the token is dense, else the list of kept features per projection.
    `rotations` are the widths of rotated inputs.
    """
    total = 0
    for token in tokens:
        for index, (d_in, d_out) in enumerate(projections):
            used = d_in
            if token["kept"] is not None:
                used = len(token["kept"][index])
                for _ in range(d_in):
                    total += 1  # |x_i| * w_i
                    total += 1  # compared with the threshold
            for _ in range(used):
                total += d_out + d_out  # one column of W: multiply, add
        for width in rotations:
            for _ in range(width):
                total += width + width  # one coordinate: multiply, add
        for _ in range(blocks * heads):
            for _ in range(token["context"]):
                total += 2 * head_dim  # q . k
                total += 2 * head_dim  # p * v
        if token["predicts"]:
            total += 2 * hidden * vocabulary
    return total
