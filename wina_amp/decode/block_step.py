"""A decode step of a whole decoder layer in compiled code (numba), in two calls: in front of the cache and behind it.

    h'  = h + norm(o(attention(q, k, v)))           q, k, v of norm(h), rotated
    h'' = h' + norm(down(act(gate(x)) * up(x)))     x = norm(h')

A layer of a small model is forty small tensor operations, each of which costs more than the arithmetic in it. Here the
products are those of `numba_gather`, and the rest stands between them; the cache stays transformers' own. Norms that a
family does not have are left out. Whatever is unusual runs the layer's own forward instead, whose projections are
sparse all the same: a layer of another class or activation, hooks on a part of it, no cache, a mask that adds numbers.

Rounding differs from transformers' by that of sums and of `exp` (2 units in the last place). As for the products, bits
depend neither on the number of threads nor on the batch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numba
import numpy as np
import torch
from jaxtyping import Float32, Int
from numpy import ndarray
from numpy.typing import NDArray
from torch import Tensor, nn

from wina_amp.decode.numba_gather import Gather, Masked, products, running, span
from wina_amp.masks.compiled import njit

Array = NDArray[np.float32]


class Norm(NamedTuple):
    """An RMS norm: x / sqrt(mean(x^2) + epsilon) * (offset + weight); none if there is no weight."""

    weight: Float32[ndarray, " features"]
    offset: float = 0.0
    epsilon: float = 0.0


NO_NORM = Norm(np.empty(0, np.float32))


class Heads(NamedTuple):
    """Heads of queries, heads of keys, features of a head, and what scores are multiplied by."""

    queries: int
    keys: int
    features: int
    scale: float


class Norms(NamedTuple):
    """The norms of a layer: in front of attention and MLP, behind them, and of the heads of q and k."""

    attention: Norm
    mlp: Norm
    attention_output: Norm
    mlp_output: Norm
    q: Norm
    k: Norm


class BlockStep:
    """A decode step of one decoder layer, float32, on the CPU.

    Args:
        number: of the layer, in the cache.
        heads: of its attention.
        norms: of the layer.
        is_gelu: whether the activation is the tanh form of GELU; else silu.
        parts: its modules, which nobody may watch.
    """

    def __init__(self, number: int, heads: Heads, norms: Norms, is_gelu: bool, parts: Sequence[nn.Module]) -> None:
        self._number, self._heads, self._norms, self._is_gelu = number, heads, norms, is_gelu
        self._hooks = tuple(
            hooks
            for part in parts
            for hooks in (part._forward_hooks, part._forward_pre_hooks)  # pyright: ignore[reportPrivateUsage]
        )

    def takes(self, cache: Any, arguments: Mapping[str, Any]) -> bool:
        """Whether the layer may run so.

        Args:
            cache: of keys and values, or None.
            arguments: what transformers passes to a layer by name.
        """
        mask = arguments.get("attention_mask")
        is_plain = mask is None or (mask.dtype == torch.bool and mask.ndim == 4 and mask.shape[1:3] == (1, 1))
        return cache is not None and is_plain and "position_embeddings" in arguments and not any(self._hooks)

    def __call__(
        self,
        h: Tensor,
        cache: Any,
        arguments: Mapping[str, Any],
        groups: Int[Tensor, " batch"],
        gathers: Sequence[Gather],
    ) -> Tensor:
        """The layer's output, of the shape of its input.

        Args:
            h: its input, `[batch, 1, hidden]`.
            cache: see `takes`.
            arguments: see `takes`.
            groups: group of every sequence.
            gathers: of the layer's inputs, in the order of `families.SITES`.
        """
        qkv, o, gate_up, down = gathers
        heads, norms, tokens = self._heads, self._norms, len(h)
        residual, numbers, threads = h[:, 0].contiguous().numpy(), groups.numpy(), gate_up.threads
        y = torch.empty(tokens, qkv.width)
        cos, sin = (_rows(each[:, 0], tokens) for each in arguments["position_embeddings"])
        with running(threads):
            _front(residual, numbers, norms, qkv.masked, heads, cos, sin, y.numpy(), threads)
        widths = (heads.queries * heads.features, heads.keys * heads.features, heads.keys * heads.features)
        _, k, v = (part.view(tokens, -1, 1, heads.features) for part in y.split(widths, dim=1))
        keys, values = cache.update(k, v, self._number)
        mask = arguments.get("attention_mask")
        is_visible = np.ones((tokens, keys.shape[2]), np.bool_) if mask is None else _rows(mask[:, 0, 0], tokens)
        cached = keys.contiguous().numpy(), values.contiguous().numpy(), is_visible
        output = torch.empty(tokens, h.shape[2])
        with running(threads):
            _back(
                *(residual, numbers, y.numpy(), *cached, heads, norms, o.masked),
                *(gate_up.masked, self._is_gelu, down.masked, output.numpy(), threads),
            )
        return output[:, None]


def _rows(values: Tensor, tokens: int) -> NDArray[Any]:
    """A row for every token, of one for all or one for each."""
    return values.expand(tokens, -1).contiguous().numpy()


@njit(nogil=True, parallel=True)
def _front(
    h: Array,
    groups: NDArray[np.int64],
    norms: Norms,
    qkv: Masked,
    heads: Heads,
    cos: Array,
    sin: Array,
    y: Array,
    threads: int,
) -> None:
    x = _normed(h, norms.attention)
    # One by one: a parallel region takes tuples of arrays, and no tuples of those.
    cutoffs, rows, biases = qkv
    for thread in numba.prange(threads):
        products(x, groups, Masked(cutoffs, rows, biases), y, thread, threads)
    _rotate(y, heads, norms.q, norms.k, cos, sin)


@njit(nogil=True, parallel=True)
def _back(
    h: Array,
    groups: NDArray[np.int64],
    q: Array,
    keys: Array,
    values: Array,
    is_visible: NDArray[np.bool_],
    heads: Heads,
    norms: Norms,
    o: Masked,
    gate_up: Masked,
    is_gelu: bool,
    down: Masked,
    output: Array,
    threads: int,
) -> None:
    tokens, hidden = h.shape
    number, of_keys, features, scale = heads
    attended = np.empty((tokens, number * features), np.float32)
    for thread in numba.prange(threads):
        for unit in range(thread, tokens * number, threads):
            token, head = unit // number, unit % number
            key_head = head // (number // of_keys)
            into = attended[token, head * features : (head + 1) * features]
            query = q[token, head * features : (head + 1) * features]
            _attend(query, keys[token, key_head], values[token, key_head], is_visible[token], scale, into)
    cutoffs, rows, biases = o
    added = np.empty((tokens, hidden), np.float32)
    for thread in numba.prange(threads):
        products(attended, groups, Masked(cutoffs, rows, biases), added, thread, threads)
    _add(h, added, norms.attention_output, output)
    x = _normed(output, norms.mlp)
    cutoffs2, rows2, biases2 = gate_up
    half = len(biases2[0])
    both = np.empty((tokens, 2 * half), np.float32)
    gated = np.empty((tokens, half), np.float32)
    for thread in numba.prange(threads):
        masked = Masked(cutoffs2, rows2, biases2)
        products(x, groups, masked, both, thread, threads)
        start, stop = span(half, thread, threads)
        for token in range(tokens):
            _gate(both[token, start:stop], both[token, half + start : half + stop], is_gelu, gated[token, start:stop])
    cutoffs3, rows3, biases3 = down
    for thread in numba.prange(threads):
        masked = Masked(cutoffs3, rows3, biases3)
        products(gated, groups, masked, added, thread, threads)
    _add(output, added, norms.mlp_output, output)


# Sums of a norm and of a score may be taken in vectors; the order is that of the compiled code, always the same.
@njit(nogil=True, fastmath={"contract", "reassoc"})
def _squares(x: Array) -> np.float32:
    total = np.float32(0)
    for feature in range(len(x)):
        total += x[feature] * x[feature]
    return total


@njit(nogil=True)
def _norm_into(x: Array, norm: Norm, y: Array) -> None:
    inverse = np.float32(1 / np.sqrt(_squares(x) / len(x) + norm.epsilon))
    for feature in range(len(x)):
        y[feature] = x[feature] * inverse * (np.float32(norm.offset) + norm.weight[feature])


@njit(nogil=True)
def _normed(x: Array, norm: Norm) -> Array:
    y = np.empty_like(x)
    for token in range(len(x)):
        if len(norm.weight):
            _norm_into(x[token], norm, y[token])
        else:
            y[token] = x[token]
    return y


@njit(nogil=True)
def _add(residual: Array, added: Array, norm: Norm, into: Array) -> None:
    """residual + norm(added)."""
    for token in range(len(residual)):
        if len(norm.weight):
            _norm_into(added[token], norm, added[token])
        for feature in range(residual.shape[1]):
            into[token, feature] = residual[token, feature] + added[token, feature]


@njit(nogil=True)
def _rotate(y: Array, heads: Heads, q_norm: Norm, k_norm: Norm, cos: Array, sin: Array) -> None:
    """Norm and rotate the heads of q and k, which stand in front in y; as many features as cosines."""
    half = cos.shape[1] // 2
    for token in range(len(y)):
        for number in range(heads.queries + heads.keys):
            head = y[token, number * heads.features : (number + 1) * heads.features]
            norm = q_norm if number < heads.queries else k_norm
            if len(norm.weight):
                _norm_into(head, norm, head)
            for low in range(half):
                high = low + half
                first, second = head[low], head[high]
                head[low] = first * cos[token, low] - second * sin[token, low]
                head[high] = second * cos[token, high] + first * sin[token, high]


@njit(nogil=True, fastmath={"contract", "reassoc"})
def _score(query: Array, key: Array) -> np.float32:
    total = np.float32(0)
    for feature in range(len(query)):
        total += query[feature] * key[feature]
    return total


@njit(nogil=True)
def _attend(query: Array, keys: Array, values: Array, is_visible: NDArray[np.bool_], scale: float, into: Array) -> None:
    """One head's mean of values, weighted by softmax of its scores."""
    scores = np.empty(len(keys), np.float32)
    largest = np.float32(-np.inf)
    for position in range(len(keys)):
        score = _score(query, keys[position]) * np.float32(scale) if is_visible[position] else np.float32(-np.inf)
        scores[position] = score
        largest = max(largest, score)
    total = np.float32(0)
    for position in range(len(keys)):
        scores[position] = _exp(scores[position] - largest)
    for position in range(len(keys)):
        total += scores[position] if is_visible[position] else np.float32(0)
    into[:] = 0
    for position in range(len(keys)):
        if is_visible[position]:
            weight = scores[position] / total
            for feature in range(len(into)):
                into[feature] += weight * values[position, feature]


@njit(nogil=True)
def _gate(gate: Array, up: Array, is_gelu: bool, into: Array) -> None:
    """act(gate) * up. Both activations are gate * sigmoid(z): z = gate for silu, and for the tanh form of GELU
    2 * sqrt(2 / pi) * (gate + 0.044715 * gate^3), because (1 + tanh(u)) / 2 = sigmoid(2 u)."""
    for feature in range(len(gate)):
        value = gate[feature]
        cubic = np.float32(1.5957691216) * (value + np.float32(0.044715) * value * value * value)
        z = cubic if is_gelu else value
        into[feature] = value / (np.float32(1) + _exp(-z)) * up[feature]


@njit(nogil=True)
def _exp(x: np.float32) -> np.float32:
    """e^x by 2^n * e^r, |r| <= log(2) / 2, and a polynomial (Cephes' expf): compilers make vectors of it. Below -87 it
    stays at e^-87, above 88 at e^88; a NaN stays one."""
    inside = max(min(x, np.float32(88)), np.float32(-87)) if x == x else x
    n = np.floor(inside * np.float32(1.44269504) + np.float32(0.5))
    r = inside - n * np.float32(0.693359375) - n * np.float32(-2.12194440e-4)
    p = np.float32(1.9875691500e-4)
    p = p * r + np.float32(1.3981999507e-3)
    p = p * r + np.float32(8.3334519073e-3)
    p = p * r + np.float32(4.1665795894e-2)
    p = p * r + np.float32(1.6666665459e-1)
    p = p * r + np.float32(5.0000001201e-1)
    p = p * r * r + r + np.float32(1)
    return p * np.int32(np.int32(np.int32(n) + np.int32(127)) << np.int32(23)).view(np.float32)
