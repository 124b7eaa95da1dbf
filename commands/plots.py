"""plots: the figures of `dvc plots show` in one page that loads nothing. Not a DVC stage; `make plots` runs it.

DVC's own page fetches Vega-Lite from a network; this one carries it, bundled by vl-convert (requirements-plots.txt).
"""

from __future__ import annotations

import sys
from pathlib import Path

from stages.run import run_command
from wina_amp.atomic import replacing
from wina_amp.errors import UserError

TEMPLATE = ".dvc/tmp/plots.html"
PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>WINA-AMP plots</title>
<script type="module">{bundle}</script>
<script>const specs = []; const vegaEmbed = (at, spec) => specs.push([at, spec]);</script></head>
<body>{{plot_divs}}
<script type="module">for (const [at, spec] of specs) window.embed(at, spec);</script></body></html>
"""
"""A module runs after the page's own scripts, so these leave their figures in a list."""


def main() -> None:
    """Write dvc_plots/index.html.

    Raises:
        UserError: vl-convert is not installed, or DVC cannot draw.
    """
    from dvc.cli import main as dvc

    try:
        import vl_convert  # type: ignore[import-not-found]
    except ImportError as error:
        raise UserError(
            "The figures need vl-convert",
            found="no module vl_convert",
            where="this environment",
            remedy="run `make plots`, which installs it",
        ) from error
    bundle = str(vl_convert.javascript_bundle("window.embed = vegaEmbed;"))
    with replacing(Path(TEMPLATE)) as temporary:
        temporary.write_text(PAGE.format(bundle=bundle), encoding="utf-8")
    if dvc(["plots", "show", "--html-template", TEMPLATE]):
        sys.exit(1)


if __name__ == "__main__":
    run_command("plots", main)
