"""One thin file per DVC stage: read tables, call the library, write tables. No maths here.

A stage computes on one thread unless OMP_NUM_THREADS says otherwise, and this file is where that is said: BLAS reads
the variable when numpy is first imported, which happens after this file and before anything else of a stage. Sums split
over another number of threads round differently, and the stages behind would run again.

numba keeps what it compiles beside the source or in the user's cache, and UMAP cannot be imported where it can write
neither (a home that is not there, in a container). There it gets a folder that goes with the process.
"""

import os

for _library in ("OMP", "OPENBLAS", "MKL"):  # the last two have variables of their own, which go before the first
    os.environ[f"{_library}_NUM_THREADS"] = os.environ.get("OMP_NUM_THREADS", "").strip() or "1"


def _can_write(folder: str) -> bool:
    """Whether the folder can be written, or made."""
    while not os.path.exists(folder):
        folder = os.path.dirname(folder)
    return os.path.isdir(folder) and os.access(folder, os.W_OK)


_cache = os.path.abspath(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"))
if "NUMBA_CACHE_DIR" not in os.environ and not _can_write(_cache):
    import tempfile

    _folder = tempfile.TemporaryDirectory(prefix="wina-amp-numba-")
    os.environ["NUMBA_CACHE_DIR"] = _folder.name
