"""Slow, obvious transcriptions of what capture counts: one token, one feature, one score at a time."""

from __future__ import annotations

import math

import numpy as np


def bin_of(score, mantissa_bits, lowest=-40, highest=24):
    """The bin of one score from its logarithm: octaves of 2^mantissa_bits equal bins."""
    score = float(score)
    count = (highest - lowest) * 2**mantissa_bits + 3
    if score == 0:
        return 0
    mantissa, exponent = math.frexp(score)  # score = mantissa * 2^exponent, mantissa in [0.5, 1)
    octave = exponent - 1
    if octave < lowest:
        return 1
    if octave >= highest:
        return count - 1
    return 2 + (octave - lowest) * 2**mantissa_bits + int((2 * mantissa - 1) * 2**mantissa_bits)


def exact_quantile(scores, q):
    """The smallest t >= 0 with #{score <= t} >= q n."""
    rank = q * len(scores)
    for value in [0.0, *sorted(scores)]:
        if np.count_nonzero(scores <= value) >= rank:
            return value
    raise AssertionError("no quantile")


def in_units(counts, bits=16):
    """One dense histogram with its cumulative counts rounded down to the unit, bin by bin."""
    counts = [int(count) for count in counts]
    total = sum(counts)
    unit = 1
    while 2 * unit * 2**bits <= total:
        unit *= 2
    rounded, seen, written = [], 0, 0
    for count in counts:
        seen += count
        upto = total if seen == total else seen // unit * unit
        rounded.append(upto - written)
        written = upto
    return rounded


def accumulate(x, weights, segment, samples, sum_segment, prompts, mantissa_bits):
    """Histograms and magnitude sums, token by token."""
    count = 64 * 2**mantissa_bits + 3
    counts = np.zeros((samples, len(weights), count), dtype=np.int64)
    sums = np.zeros((prompts, x.shape[1]))
    for token in range(len(x)):
        for feature in range(x.shape[1]):
            magnitude = np.abs(np.float32(x[token, feature]))
            if sum_segment[token] >= 0:
                sums[sum_segment[token], feature] += magnitude
            if segment[token] < 0:
                continue
            for scoring in range(len(weights)):
                score = np.float32(magnitude * weights[scoring, feature])
                counts[segment[token], scoring, bin_of(score, mantissa_bits)] += 1
    return counts, sums


def eligible(prompt_lengths, total_lengths, width, prefix_of):
    """True where a token is scored, one token at a time; `prefix_of(prompt length)` tokens stay dense."""
    return [
        [prefix_of(prompt) <= position < total for position in range(width)]
        for prompt, total in zip(prompt_lengths, total_lengths, strict=True)
    ]
