"""Per-sample signatures: which features of a site fire, in a few numbers.

The profile of a sample at a site is the mean over its eligible prompt tokens of |x_i| * s_i, with
s_i = sqrt(sum over the site's projections of ||W[:, i]||^2): the norm of what feature i adds to everything that reads
it, whatever criterion is later used for masking. A profile is divided by its L2 norm before it is projected: how
strongly a sample drives a site says little about which features it needs, and would otherwise dominate distances.

The projection is a Gaussian matrix over sqrt(dim), seeded by (seed, block, site, features, dim). It needs no pass over
the data, and by Johnson-Lindenstrauss it keeps squared distances with a relative standard error of sqrt(2/dim).

NumPy only. Nothing is learned here; standardising and principal components belong to clustering.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from jaxtyping import Float, Float32
from numpy import ndarray

from wina_amp.models.families import SITES

_CACHED_MATRICES = 256  # sites of the largest models we expect (64 blocks); one matrix is a few MB at most


def project(
    profile: Float[ndarray, "samples features"], *, seed: int, block: int, site: str, dim: int
) -> Float32[ndarray, "samples dim"]:
    """The signatures of unnormalised profiles (sums serve as well as means: only the direction counts).

    Args:
        profile: not negative; a row of zeros gives a zero signature.
        seed: the run's seed.
        block: decoder layer.
        site: one of `families.SITES`.
        dim: numbers per signature.

    Guarantee: the same seed, block, site and dim give the same matrix on every machine; products are summed in float64.
    """
    values = np.asarray(profile, dtype=np.float64)
    norms = np.linalg.norm(values, axis=1, keepdims=True)
    directions = values / np.where(norms > 0, norms, 1.0)
    return (directions @ matrix(seed, block, site, values.shape[1], dim)).astype(np.float32)


@lru_cache(maxsize=_CACHED_MATRICES)
def matrix(seed: int, block: int, site: str, features: int, dim: int) -> Float32[ndarray, "features dim"]:
    """The seeded Gaussian matrix of a site; entries have variance 1/dim. Treat it as read-only."""
    generator = np.random.default_rng([seed, block, SITES.index(site), features, dim])
    values = generator.standard_normal((features, dim), dtype=np.float32) / np.float32(np.sqrt(dim))
    values.flags.writeable = False
    return values
