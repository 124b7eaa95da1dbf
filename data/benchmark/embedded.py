"""Where the task files' `!function embedded.dataset` finds the generator (lm-eval resolves it beside the YAML).

lm-eval may be run from any folder, so the repository that this file lies in goes behind everything else on the path.
"""

import sys
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

if find_spec("pipeline") is None:
    sys.path.append(str(ROOT))
try:
    from pipeline.tasks.embedded.dataset import dataset
except ImportError as error:
    raise ImportError(
        f"The embedded tasks are made by the package `pipeline` of the repository wina-amp, which was looked for in "
        f"{ROOT}, behind the Python path: {error}. Leave data/benchmark in a checkout of the repository and pass its "
        "place there (`lm_eval --include_path <checkout>/data/benchmark`); where a package of yours is called "
        "`pipeline`, put the checkout in front of it (PYTHONPATH)."
    ) from error

__all__ = ["dataset"]
