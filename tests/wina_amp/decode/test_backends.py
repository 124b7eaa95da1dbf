"""`wina_amp.decode.backends`: every backend gives the product of the reference, and a refusal says why."""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec

import pytest
import torch

from tests.wina_amp.decode.products import SHAPES, case, product
from wina_amp.decode.backends import BACKENDS, Call, choose
from wina_amp.decode.masked_projections import MaskedProjection
from wina_amp.errors import UserError
from wina_amp.names import AUTO, BFLOAT16

DTYPES = {
    "numba": (torch.float32, torch.bfloat16),
    "triton": (torch.float32, torch.bfloat16, torch.float16),
    "reference": (torch.float32, torch.bfloat16, torch.float16, torch.float64),
}

ROUNDING = {torch.float32: 0.0, torch.bfloat16: 2.0**-7, torch.float16: 2.0**-10, torch.float64: 0.0}
"""Relative error of the one rounding to the output's dtype. Triton's interpreter cuts bfloat16 off where all others
round to the nearest, so a whole unit of the last place is allowed."""


def _device(name: str) -> str:
    """Where the backend runs in tests; skips aloud what cannot run here."""
    if name != "triton":
        return "cpu"
    if find_spec("triton") is None:
        pytest.skip(
            "triton is not installed: its kernels are NOT tested here (`pip install triton` runs them on the CPU)"
        )
    return "cuda" if torch.cuda.is_available() else "cpu"


def _run(name: str, given, bias: bool = True) -> torch.Tensor:
    device = _device(name)
    assert BACKENDS[name].refusal(Call(device, given.x.dtype, len(given.x))) is None
    on = {key: value.to(device) for key, value in vars(given).items()}
    built = BACKENDS[name].build([MaskedProjection(on["weight"], on["bias"] if bias else None, on["cutoffs"])])
    (y,) = built(on["x"], on["groups"])
    return y.cpu()


@pytest.mark.parametrize("density", ["all", "none", "some", "mixed"])
@pytest.mark.parametrize(("name", "dtype"), [(name, dtype) for name in BACKENDS for dtype in DTYPES[name]])
def test_every_backend_gives_the_product_of_the_transcription(name: str, dtype: torch.dtype, density: str):
    for tokens, (inputs, outputs) in zip((1, 2, 3, 5, 8, 1), SHAPES, strict=True):
        given = case(inputs, outputs, tokens, dtype, density)
        y, wanted = _run(name, given), product(given)
        assert y.dtype == dtype
        assert ((y.double() - wanted).abs() <= ROUNDING[dtype] * wanted.abs()).all()


@pytest.mark.parametrize("name", BACKENDS)
def test_a_map_may_have_no_bias(name: str):
    given = case(17, 5, 2, torch.float32, "some")
    assert torch.equal(_run(name, given, bias=False).double(), product(given, bias=False))


@pytest.mark.parametrize("name", BACKENDS)
def test_equal_calls_give_equal_bits(name: str):
    given = case(1040, 100, 3, torch.float32, "some")
    given.x.mul_(0.1)
    assert torch.equal(_run(name, given), _run(name, given))


# numpy's, in Triton's interpreter: infinity times the zeros beyond the last output.
@pytest.mark.filterwarnings("ignore:invalid value encountered in multiply:RuntimeWarning")
@pytest.mark.parametrize("name", BACKENDS)
def test_a_nan_reaches_the_output_of_its_token_and_no_other(name: str):
    given = case(17, 5, 3, torch.float32, "none")
    given.x[1, 4] = torch.nan
    given.x[2, 4] = torch.inf
    given.weight[:, 4] = 1.0
    y = _run(name, given, bias=False)
    assert y[1].isnan().all() and y[2].isinf().all() and not y[0].any()


@pytest.mark.parametrize("name", ["numba", "triton"])
def test_inputs_of_another_width_are_refused_before_anything_is_read(name: str):
    given = case(17, 5, 2, torch.float32, "some")
    with pytest.raises(ValueError, match="must have as many inputs each, got 16"):
        _run(name, replace(given, x=given.x[:, :16]))


def test_rounded_weights_give_the_product_of_what_they_stand_for_on_every_backend_that_takes_them():
    given = case(100, 64, 3, torch.float32, "some")
    given = replace(given, weight=given.weight / 3)  # whole numbers are exact
    wanted = product(replace(given, weight=given.weight.bfloat16().float()))
    for name in ("numba", "reference"):
        built = BACKENDS[name].build([MaskedProjection(given.weight, given.bias, given.cutoffs, BFLOAT16)])
        (y,) = built(given.x, given.groups)
        assert (y.double() - wanted).abs().max() < 1e-5 * wanted.abs().max()


def _shared(inputs: int, outputs: tuple[int, ...], tokens: int, dtype: torch.dtype, density: str, bias: bool = True):
    """Maps of one input, each with its own weights and cutoffs; the second has no bias if `bias` is False."""
    first = case(inputs, outputs[0], tokens, dtype, density)
    others = [case(inputs, size, tokens, dtype, density) for size in outputs[1:]]
    return [first, *(replace(other, x=first.x, groups=first.groups) for other in others)]


def _build(name: str, every: list, biased: tuple[bool, ...]):
    device = _device(name)
    projections = [
        MaskedProjection(given.weight.to(device), given.bias.to(device) if has else None, given.cutoffs.to(device))
        for given, has in zip(every, biased, strict=True)
    ]
    return BACKENDS[name].build(projections), every[0].x.to(device), every[0].groups.to(device)


@pytest.mark.parametrize("density", ["none", "some", "mixed"])
@pytest.mark.parametrize(("name", "dtype"), [(name, dtype) for name in BACKENDS for dtype in DTYPES[name]])
def test_maps_of_one_input_keep_their_own_masks(name: str, dtype: torch.dtype, density: str):
    """q, k and v of other widths, beyond a block of columns and no multiple of one, the second without bias."""
    for tokens, inputs, outputs in ((1, 17, (3, 5, 1)), (3, 100, (300, 130, 130)), (8, 530, (64, 257))):
        every = _shared(inputs, outputs, tokens, dtype, density)
        biased = (True, False, True)[: len(every)]
        built, x, groups = _build(name, every, biased)
        for y, given, has in zip(built(x, groups), every, biased, strict=True):
            wanted = product(given, bias=has)
            assert y.shape == wanted.shape and y.dtype == dtype
            assert ((y.cpu().double() - wanted).abs() <= ROUNDING[dtype] * wanted.abs()).all()


def _gated(gate: torch.Tensor, up: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """silu(gate) * up, every step rounded to the dtype."""
    gate, up = gate.to(dtype).double(), up.to(dtype).double()
    return (gate / (1 + (-gate).exp())).to(dtype).double() * up


@pytest.mark.parametrize("density", ["some", "mixed"])
@pytest.mark.parametrize(("name", "dtype"), [(name, dtype) for name in BACKENDS for dtype in DTYPES[name]])
def test_gate_and_up_are_multiplied_whether_they_are_two_maps_or_one(name: str, dtype: torch.dtype, density: str):
    for tokens, inputs, half in ((1, 17, 3), (3, 40, 300), (8, 257, 64)):
        two = _shared(inputs, (half, half), tokens, dtype, density)
        two[1] = replace(two[1], cutoffs=two[1].cutoffs.flip(0), weight=two[1].weight.flip(1))
        two = [replace(given, weight=given.weight / 16, bias=given.bias / 16) for given in two]  # exact, and silu bends
        fused = case(inputs, 2 * half, tokens, dtype, density)
        fused = replace(fused, weight=fused.weight / 16, bias=fused.bias / 16)
        for every in (two, [fused]):
            built, x, groups = _build(name, every, (True,) * len(every))
            y = built.gated(x, groups).cpu()
            wanted = [product(given) for given in every]
            gate, up = wanted if len(wanted) == 2 else wanted[0].chunk(2, dim=1)
            wanted = _gated(gate, up, dtype)
            # Gate, silu, up and product round in turn; exp(-gate) turns the gate's rounding into |gate| times as much.
            slack = (4 + gate.abs()) * ROUNDING[dtype] + 1e-6
            assert y.dtype == dtype and y.shape == wanted.shape
            assert ((y.double() - wanted).abs() <= slack * wanted.abs()).all()


@pytest.mark.parametrize("name", BACKENDS)
def test_a_nan_reaches_its_own_token_through_every_shared_map(name: str):
    every = _shared(17, (5, 5), 3, torch.float32, "none")
    every[0].x[1, 4] = torch.nan
    for given in every:
        given.weight[:, 4] = 1.0
    built, x, groups = _build(name, every, (False, False))
    for y in (*built(x, groups), built.gated(x, groups)):
        assert y[1].isnan().all() and not y[[0, 2]].any()


@pytest.mark.parametrize("name", BACKENDS)
def test_halves_that_are_none_are_refused(name: str):
    for outputs in ((5, 7), (7,), (4, 4, 4)):
        every = _shared(9, outputs, 2, torch.float32, "some")
        built, x, groups = _build(name, every, (True,) * len(every))
        with pytest.raises(ValueError, match=f"one width, or the halves of one, got widths {outputs[0]}"):
            built.gated(x, groups)


def test_maps_that_do_not_fit_a_launch_are_refused():
    first = case(9, 4, 1, torch.float32, "some")
    with pytest.raises(ValueError, match="1 to 3 projections can share a launch, got 4"):
        _build("triton", [first] * 4, (True,) * 4)
    with pytest.raises(ValueError, match=r"weights and cutoffs must have as many inputs each, got \[9, 10\]"):
        _build("triton", [first, case(10, 4, 1, torch.float32, "some")], (True, True))


def test_a_profile_is_switched_by_the_groups_alone():
    """The same built projections, the same launches: what a CUDA graph would record reads its groups from memory."""
    every = _shared(40, (30, 20), 3, torch.float32, "mixed")
    built, x, groups = _build("triton", every, (True, True))
    for numbers in ([0, 0, 0], [1, 0, 1], [1, 1, 1]):
        groups.copy_(torch.tensor(numbers))
        for y, given in zip(built(x, groups), every, strict=True):
            assert torch.equal(y.cpu().double(), product(replace(given, groups=torch.tensor(numbers))))


def test_to_a_compiler_the_launches_are_one_operator():
    """fullgraph: anything that breaks the graph raises; the operator's shapes and strides are checked by opcheck."""
    every = _shared(40, (30, 30), 3, torch.float32, "some")
    built, x, groups = _build("triton", every, (True, False))

    def work(x: torch.Tensor, groups: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        first, second = built(x * 2, groups)
        return first + second, built.gated(x, groups)

    fast = torch.compile(work, fullgraph=True, backend="aot_eager")
    with torch.inference_mode():
        pairs = zip(fast(x, groups), work(x, groups), strict=True)
        assert all(torch.equal(compiled, eager) for compiled, eager in pairs)


def test_the_first_backend_that_takes_the_tensors_is_chosen(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    monkeypatch.setattr("wina_amp.decode.backends.find_spec", lambda _name: object())
    assert choose(AUTO, Call("cpu", torch.float32, 8)) == "numba"
    assert choose(AUTO, Call("cpu", torch.float32, 9)) == "reference"
    assert choose(AUTO, Call("cpu", torch.bfloat16, 1)) == "numba"
    assert choose(AUTO, Call("cpu", torch.float16, 1)) == "reference"
    assert choose(AUTO, Call("cuda", torch.bfloat16, 1, weights="bfloat16")) == "reference"
    assert choose(AUTO, Call("cuda", torch.bfloat16, 1)) == "triton"
    assert choose(AUTO, Call("cuda", torch.float64, 1)) == "reference"
    assert choose(AUTO, Call("mps", torch.float32, 1)) == "reference"
    assert choose("reference", Call("cpu", torch.float32, 1)) == "reference"


@pytest.mark.parametrize(
    ("name", "call", "message"),
    [
        (
            "numba",
            Call("cpu", torch.float16, 1),
            r"Backend numba needs float32 or bfloat16\. Found: 1 tokens in float16 on cpu",
        ),
        (
            "numba",
            Call("cuda", torch.float32, 1),
            r"needs the CPU\. Found: .* on cuda.*choose triton or reference or auto",
        ),
        (
            "numba",
            Call("cpu", torch.float32, 9),
            r"needs 1 to 8 tokens per call\. Found: 9 tokens.*choose reference or auto",
        ),
        ("triton", Call("cpu", torch.float32, 1), r"needs a CUDA device.*choose numba or reference or auto"),
        ("triton", Call("cuda", torch.bfloat16, 1, weights="bfloat16"), r'Backend triton needs `weights="copy"`'),
        ("triton", Call("cuda", torch.float64, 1), r"needs float16, bfloat16 or float32\. Found: 1 tokens in float64"),
        (
            "nunba",
            Call("cpu", torch.float32, 1),
            r"must be one of auto, numba, reference, triton.*did you mean 'numba'",
        ),
    ],
)
def test_a_backend_that_cannot_says_why(name: str, call: Call, message: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    monkeypatch.setattr("wina_amp.decode.backends.find_spec", lambda _name: object())
    with pytest.raises(UserError, match=message):
        choose(name, call)


@pytest.mark.parametrize(
    ("name", "call", "message"),
    [
        ("numba", Call("cpu", torch.float32, 1), r"needs the package `numba` \(`pip install wina-amp\[cpu\]`\)"),
        ("triton", Call("cuda", torch.float16, 1), "needs the package `triton`, which comes with the CUDA builds"),
    ],
)
def test_a_backend_whose_package_is_not_installed_is_refused(
    name: str, call: Call, message: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("wina_amp.decode.backends.find_spec", lambda _name: None)
    with pytest.raises(UserError, match=message):
        choose(name, call)
    assert choose(AUTO, call) == "reference"
