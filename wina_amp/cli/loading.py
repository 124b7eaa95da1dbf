"""A model as commands take it, and the profile set for it."""

from __future__ import annotations

from wina_amp.models.load import LoadedModel, load
from wina_amp.models.rotation_files import rotate_model
from wina_amp.names import AUTO
from wina_amp.profile_set.profile_set import ProfileSet


def model_and_set(
    model: str, path_or_repo: str, *, sparsity: float, dtype: str, revision: str
) -> tuple[LoadedModel, ProfileSet]:
    """The model, rotated where the set asks for it, and the set.

    Args:
        model: folder of a checkpoint, or `owner/name` on the hub.
        path_or_repo: of the profile set.
        sparsity: one of its targets.
        dtype: of the weights.
        revision: of a model of the hub.

    Raises:
        UserError: what cannot be loaded, or an unknown sparsity, which is found before the model is loaded.
    """
    profiles = ProfileSet.from_pretrained(path_or_repo)
    profiles.at(sparsity)
    loaded = load(model, revision=revision, dtype=dtype, device=AUTO)
    if profiles.rotations is not None:
        rotate_model(loaded, profiles.rotations)
    return loaded, profiles
