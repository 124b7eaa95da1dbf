"""Muon's update: orthogonal, along the gradient's singular vectors, and it learns."""

from __future__ import annotations

import pytest
import torch

from pipeline.reference_model.muon import Muon, orthogonalised

# Five quintic steps with these coefficients do not converge to 1 but land in this band (Jordan et al., 2024, fig. 3).
BAND = (0.6, 1.25)


@pytest.mark.parametrize("shape", [(192, 512), (512, 192), (64, 192), (192, 192)])
def test_singular_values_end_near_one_and_singular_vectors_stay(shape: tuple[int, int]) -> None:
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    left, values, right = torch.linalg.svd(matrix, full_matrices=False)
    rotated = left.T @ orthogonalised(matrix) @ right.T
    diagonal = rotated.diagonal()
    large = values / values.norm() > 0.01
    assert BAND[0] < float(diagonal[large].min()) and float(diagonal[large].max()) < BAND[1]
    off = rotated - torch.diag(diagonal)
    assert float(off.abs().max()) < 1e-3, "fp32 rounding over five steps"


def test_the_update_has_the_root_mean_square_of_adamw() -> None:
    weight = torch.nn.Parameter(torch.zeros(192, 512))
    weight.grad = torch.randn(192, 512, generator=torch.Generator().manual_seed(1))
    Muon([weight], lr=1.0, momentum=0.0).step()
    assert float(weight.detach().square().mean().sqrt()) == pytest.approx(0.2, rel=0.25), "0.2 times the band above"


def test_it_solves_a_least_squares_problem() -> None:
    generator = torch.Generator().manual_seed(2)
    inputs, target = torch.randn(256, 16, generator=generator), torch.randn(8, 16, generator=generator)
    weight = torch.nn.Parameter(torch.zeros(8, 16))
    start = float((inputs @ target.T).square().mean())
    optimizer = Muon([weight], lr=0.0)
    for step in range(300):
        optimizer.param_groups[0]["lr"] = 0.2 * (1 - step / 300)
        (inputs @ (weight - target).T).square().mean().backward()
        optimizer.step()
        weight.grad = None
    end = float((inputs @ (weight.detach() - target).T).square().mean())
    assert end < 0.01 * start
