"""`pipeline.sparse.backends`: every backend gives the product of the reference, and a refusal says why."""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec

import pytest
import torch

from pipeline.errors import UserError
from pipeline.sparse.backends import AUTO, BACKENDS, Call, choose
from tests.sparse.products import SHAPES, case, product

DTYPES = {
    "numba": (torch.float32,),
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
    built = BACKENDS[name].build(on["weight"], on["bias"] if bias else None, on["cutoffs"])
    return built(on["x"], on["groups"]).cpu()


@pytest.mark.parametrize("density", ["all", "none", "some", "mixed"])
@pytest.mark.parametrize(("name", "dtype"), [(name, dtype) for name in BACKENDS for dtype in DTYPES[name]])
def test_every_backend_gives_the_product_of_the_transcription(name: str, dtype: torch.dtype, density: str):
    for tokens, (inputs, outputs) in zip((1, 2, 3, 5, 8, 1), SHAPES, strict=True):
        given = case(inputs, outputs, tokens, dtype, density)
        found, wanted = _run(name, given), product(given)
        assert found.dtype == dtype
        assert ((found.double() - wanted).abs() <= ROUNDING[dtype] * wanted.abs()).all()


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
    found = _run(name, given, bias=False)
    assert found[1].isnan().all() and found[2].isinf().all() and not found[0].any()


@pytest.mark.parametrize("name", ["numba", "triton"])
def test_inputs_of_another_width_are_refused_before_anything_is_read(name: str):
    given = case(17, 5, 2, torch.float32, "some")
    with pytest.raises(ValueError, match="must have as many inputs each, got 16, 17, 17"):
        _run(name, replace(given, x=given.x[:, :16]))


def test_the_first_backend_that_takes_the_tensors_is_chosen(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    monkeypatch.setattr("pipeline.sparse.backends.find_spec", lambda _name: object())
    assert choose(AUTO, Call("cpu", torch.float32, 8)) == "numba"
    assert choose(AUTO, Call("cpu", torch.float32, 9)) == "reference"
    assert choose(AUTO, Call("cpu", torch.bfloat16, 1)) == "reference"
    assert choose(AUTO, Call("cuda", torch.bfloat16, 1)) == "triton"
    assert choose(AUTO, Call("cuda", torch.float64, 1)) == "reference"
    assert choose(AUTO, Call("mps", torch.float32, 1)) == "reference"
    assert choose("reference", Call("cpu", torch.float32, 1)) == "reference"


@pytest.mark.parametrize(
    ("name", "call", "message"),
    [
        (
            "numba",
            Call("cpu", torch.bfloat16, 1),
            r"Backend numba needs float32, because it would have to convert .* Found: 1 tokens in bfloat16 on cpu",
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
    monkeypatch.setattr("pipeline.sparse.backends.find_spec", lambda _name: object())
    with pytest.raises(UserError, match=message):
        choose(name, call)


def test_triton_is_refused_where_it_is_not_installed(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("pipeline.sparse.backends.find_spec", lambda _name: None)
    with pytest.raises(UserError, match="needs the package `triton`, which comes with the CUDA builds of PyTorch"):
        choose("triton", Call("cuda", torch.float16, 1))
    assert choose(AUTO, Call("cuda", torch.float16, 1)) == "reference"
