"""The model families this project can profile, one literal row each.

A row says where a decoder layer keeps its linear maps and which activation (site) each of them reads. Everything else
(sizes, number of blocks, number of heads) comes from the checkpoint's own config and weight shapes, so a row
mentions no model by name or size. Adding a family is adding a row here and its test. Gemma 2 has no row: its capped
attention scores rule out the attention kernel, and with it the masks by which several continuations share a prompt.

Fused weights are ONE projection with named slices: `qkv` is a single linear map whose output rows are those of q, then
k, then v. The module imports nothing heavy, so that stages without a model may use the names.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from wina_amp.errors import UserError, unknown

SITES = ("qkv", "o", "gate_up", "down")
"""Activations that are observed, in the order in which a block computes them."""

INPUT, ACTIVATED_GATE = "input", "activated_gate"
"""What a criterion may score: the input of every projection, or act(gate(x)) of every MLP (see `mask_sites.py`)."""

PROJECTION_ORDER = ("q", "k", "v", "qkv", "o", "gate", "up", "gate_up", "down")
"""Canonical projection names, in the order in which tables and arrays list them."""


@dataclass(frozen=True)
class LinearMap:
    """One linear map of a decoder layer.

    Attributes:
        name: canonical projection name.
        path: attribute path of the `nn.Linear` inside the decoder layer.
        site: the activation it reads; maps of the same site read the same tensor.
        slices: canonical names of the maps fused into this one, in the order of its output rows; empty if not fused.
    """

    name: str
    path: str
    site: str
    slices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Family:
    """One row: a `config.model_type` of transformers and the linear maps of its decoder layers.

    Attributes:
        model_type: the value of `model_type` in the checkpoint's config.json.
        layers: attribute path of the list of decoder layers inside the causal LM.
        linear_maps: the projections of one layer, in `PROJECTION_ORDER`.
        attention_norm: norm in front of attention; None if attention reads the residual stream itself.
        mlp_norm: the same for the MLP.
        attention_output_norm: norm on what attention adds to the residual stream; None if there is none.
        mlp_output_norm: the same for the MLP.
        activation: attribute path, inside the layer, of the module whose output is the MLP's activated gate.
        norm_offset: what the norms add to their weight before they multiply by it.
    """

    model_type: str
    layers: str
    linear_maps: tuple[LinearMap, ...]
    attention_norm: str | None = "input_layernorm"
    mlp_norm: str | None = "post_attention_layernorm"
    attention_output_norm: str | None = None
    mlp_output_norm: str | None = None
    activation: str = "mlp.act_fn"
    norm_offset: int = 0


_SPLIT = (
    LinearMap("q", "self_attn.q_proj", "qkv"),
    LinearMap("k", "self_attn.k_proj", "qkv"),
    LinearMap("v", "self_attn.v_proj", "qkv"),
    LinearMap("o", "self_attn.o_proj", "o"),
    LinearMap("gate", "mlp.gate_proj", "gate_up"),
    LinearMap("up", "mlp.up_proj", "gate_up"),
    LinearMap("down", "mlp.down_proj", "down"),
)

_FUSED = (
    LinearMap("qkv", "self_attn.qkv_proj", "qkv", slices=("q", "k", "v")),
    LinearMap("o", "self_attn.o_proj", "o"),
    LinearMap("gate_up", "mlp.gate_up_proj", "gate_up", slices=("gate", "up")),
    LinearMap("down", "mlp.down_proj", "down"),
)

_NORM_BOTH_SIDES = (
    "input_layernorm",
    "pre_feedforward_layernorm",
    "post_attention_layernorm",
    "post_feedforward_layernorm",
)
_NORM_AFTER = (None, None, "post_attention_layernorm", "post_feedforward_layernorm")

FAMILIES = {
    family.model_type: family
    for family in (
        Family("llama", "model.layers", _SPLIT),
        Family("mistral", "model.layers", _SPLIT),
        Family("qwen2", "model.layers", _SPLIT),
        Family("qwen3", "model.layers", _SPLIT),
        Family("phi3", "model.layers", _FUSED, activation="mlp.activation_fn"),
        Family("gemma3_text", "model.layers", _SPLIT, *_NORM_BOTH_SIDES, norm_offset=1),
        Family("olmo2", "model.layers", _SPLIT, *_NORM_AFTER),
    )
}


_EXPERT_COUNTS = ("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts")
"""Where checkpoints of transformers say how many experts a layer has."""


def refuse_experts(config: Mapping[str, object], where: str) -> None:
    """Refuse mixture-of-experts checkpoints, by what their config.json says.

    Which experts run depends on the token, so a block has no one `gate`, `up` and `down` that every token passes, and
    neither a histogram nor a threshold of them exists.

    Raises:
        UserError: the config has more than one expert; says where and how many.
    """
    for name in _EXPERT_COUNTS:
        count = config.get(name)
        if isinstance(count, int) and count > 1:
            raise UserError(
                "The model must be dense: with experts, the weights a token uses differ from token to token",
                found=f"{config.get('model_type')} with `{name}: {count}`",
                where=where,
                remedy="choose a checkpoint without experts, of a family listed in wina_amp/models/families.py",
            )


def family_of(model_type: str, where: str = "config.json of the model") -> Family:
    """The row for a checkpoint's `model_type`.

    Raises:
        UserError: no row has this model type; the known ones are listed.
    """
    if model_type not in FAMILIES:
        raise unknown("model family (`model_type`)", model_type, FAMILIES, where)
    return FAMILIES[model_type]
