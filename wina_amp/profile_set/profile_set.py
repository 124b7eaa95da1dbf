"""`ProfileSet`: thresholds and router that make one model sparse; loaded, saved, and checked against a model.

`wina_amp.sparsify_` puts it on a model. Sparse decoding needs threshold masks, so a set has no other masks.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from jaxtyping import Float32
from torch import Tensor
from transformers import PreTrainedModel

from wina_amp.errors import UserError
from wina_amp.models.rotation import rotated_widths
from wina_amp.names import LEARNED, NO_TRANSFORM, THRESHOLD
from wina_amp.profile_set.description import Description, damaged
from wina_amp.profile_set.files import ROTATIONS, read, write
from wina_amp.profile_set.hub import local_folder, upload
from wina_amp.profile_set.identity import Shapes, as_loaded, check_shapes, check_weights, shapes_of
from wina_amp.routing.prompt_router import kind_of
from wina_amp.routing.router import Router
from wina_amp.scoring.criteria import criterion_row
from wina_amp.scoring.learned_weights import Weights

_WEIGHTS = "weights."
"""Begins the names of feature weights: `weights.<block>.<projection>`."""


@dataclass(frozen=True)
class ProfileSet:
    """The thresholds of every group at every target, and the router from prompts to groups.

        profiles = ProfileSet.from_pretrained("data/profile_sets/kl")  # or "owner/name", from the hub
        print(profiles.description.targets, [group.name for group in profiles.description.groups])
        profiles.save_pretrained("a-copy")

    Attributes:
        description: everything but the tensors.
        thresholds: scores at or below are masked; on the CPU.
        sketch: of the weights that it was made for (`wina_amp.profile_set.identity.sketch`).
        router: None where there is one group.
        weights: learned feature weights, on the CPU; None unless the criterion is `learned`.
        rotations: folder with the bases of a rotated model's inputs; None unless the model is one.

    Raises:
        ValueError: thresholds that are negative or NaN, shapes that do not agree with the description, other masks, a
            router that is missing or has nothing to choose, or feature weights that are missing or not used.
    """

    description: Description
    thresholds: Float32[Tensor, "targets groups blocks projections"]
    sketch: Float32[Tensor, "blocks projections"]
    router: Router | None
    weights: Weights | None = None
    rotations: str | os.PathLike[str] | None = None

    def __post_init__(self) -> None:
        description = self.description
        targets, groups = len(description.targets), len(description.groups)
        blocks, projections = description.model.blocks, len(description.model.projections)
        _must_be("thresholds", self.thresholds, (targets, groups, blocks, projections))
        _must_be("sketch", self.sketch, (blocks, projections))
        if description.mask != THRESHOLD:
            raise ValueError(f"sparse decoding needs threshold masks, got {description.mask}")
        if not bool((self.thresholds >= 0).all()):
            raise ValueError("thresholds must be numbers that are not negative")
        if (self.router is None) != (description.router is None):
            raise ValueError("a router must come with its facts, and facts with a router")
        if self.router is None and groups > 1:
            raise ValueError(f"{groups} groups need a router")
        if (self.weights is not None) != (criterion_row(description.criterion).weights is None):
            raise ValueError(f"feature weights must be there exactly where `{LEARNED}` scores features")
        if self.weights is not None:
            _check_weights(self.weights, description)

    @classmethod
    def from_pretrained(
        cls,
        path_or_repo: str | os.PathLike[str],
        *,
        revision: str | None = None,
        subfolder: str = "",
        token: str | None = None,
    ) -> ProfileSet:
        """Read a profile set from a folder, or from a repository of the hub.

        Args:
            path_or_repo: a folder (`wina_amp/profile_set/files.py` describes its files), or `owner/name`.
            revision: commit, tag or branch of the repository; None is its main branch.
            subfolder: where in the folder or repository the set lies.
            token: for a private repository; None takes the one of `hf auth login` or HF_TOKEN.

        Raises:
            UserError: a file is missing, damaged, of another format, or does not belong to the others; and see
                `wina_amp.profile_set.hub.local_folder`.
        """
        path = local_folder(path_or_repo, revision=revision, subfolder=subfolder, token=token)
        description, tensors = read(path)
        if description.router is not None:
            kind_of(description.router)
        try:
            weight, bias = tensors.get("router.weight"), tensors.get("router.bias")
            router = None if weight is None or bias is None else Router(weight, bias)
            weights = _feature_weights(tensors) or None
            rotations = path / ROTATIONS if description.model.transform != NO_TRANSFORM else None
            return cls(description, tensors["thresholds"], tensors["sketch"], router, weights, rotations)
        except (KeyError, ValueError) as error:
            raise damaged("The tensors of a profile set must fit its description", str(error), path) from error

    def save_pretrained(self, folder: str | os.PathLike[str]) -> None:
        """Write the folder, atomically, with the same bytes every time; an existing folder is replaced."""
        tensors = {"thresholds": self.thresholds, "sketch": self.sketch}
        if self.router is not None:
            tensors |= {f"router.{name}": tensor for name, tensor in self.router.state_dict().items()}
        if self.weights is not None:
            tensors |= {f"{_WEIGHTS}{block}.{name}": row for (block, name), row in self.weights.items()}
        write(folder, self.description, tensors, self.rotations)

    def push_to_hub(self, repo_id: str, *, private: bool | None = None, token: str | None = None) -> str:
        """Upload the set, with its card, to the root of a repository of the hub, made where there is none.

        Args:
            repo_id: `owner/name`.
            private: whether a new repository is private; None is what the owner's settings say.
            token: one that may write; None takes that of `hf auth login` or HF_TOKEN.

        Returns: the address of the commit.

        Raises:
            UserError: see `wina_amp.profile_set.hub.upload`.
        """
        with TemporaryDirectory() as parent:
            folder = Path(parent, "set")
            self.save_pretrained(folder)
            message = f"Profile set {self.description.name}"
            return upload(folder, repo_id, private=private, token=token, message=message)

    def at(self, target: float) -> Float32[Tensor, "groups blocks projections"]:
        """The thresholds at one target.

        Raises:
            UserError: the set has no such target; the known ones are listed.
        """
        known = self.description.targets
        if target not in known:
            raise UserError(
                f"The target must be one that the profile set has: {', '.join(f'{value:g}' for value in known)}",
                found=str(target),
                where=f"profile set {self.description.name}",
                remedy="choose one of them, or add the target to `evaluate.targets` and export the set again",
            )
        return self.thresholds[known.index(target)]

    def check(self, model: PreTrainedModel, *, weights: bool = True) -> None:
        """Refuse a model that the set was not made for.

        Args:
            model: the model.
            weights: whether its weights are compared, too; they are read once.

        Raises:
            UserError: another family, other shapes or weights, rotated inputs where they should not be or vice versa.
        """
        made_for = self.description.model
        check_shapes(Shapes(made_for.family, made_for.blocks, made_for.projections), shapes_of(model))
        is_rotated = bool(rotated_widths(as_loaded(model)))
        if is_rotated != (made_for.transform != NO_TRANSFORM):
            raise UserError(
                f"The inputs of the model must be rotated as the profile set's were: `transform: {made_for.transform}`",
                found="a rotated model" if is_rotated else "a model that is not rotated",
                where="the model that the profile set is put on",
                remedy="load the checkpoint as it is, or rotate it with "
                f"`rotate_model(loaded, <folder>/{ROTATIONS})` of wina_amp.models.rotation_files",
            )
        if weights:
            check_weights(self.sketch, model)


def _feature_weights(tensors: dict[str, Tensor]) -> dict[tuple[int, str], Tensor]:
    weights: dict[tuple[int, str], Tensor] = {}
    for name, tensor in tensors.items():
        if name.startswith(_WEIGHTS):
            block, projection = name.removeprefix(_WEIGHTS).split(".")
            weights[int(block), projection] = tensor
    return weights


def _check_weights(weights: Weights, description: Description) -> None:
    for block in range(description.model.blocks):
        for name, (_, columns) in description.model.projections.items():
            if (block, name) not in weights:
                raise ValueError(f"feature weights of block {block}, {name} are missing")
            _must_be(f"feature weights of block {block}, {name}", weights[block, name], (columns,))


def _must_be(name: str, tensor: Tensor, shape: tuple[int, ...]) -> None:
    if tensor.shape != shape or tensor.dtype != torch.float32:
        raise ValueError(f"{name} must be {list(shape)} in float32, got {list(tensor.shape)} in {tensor.dtype}")
