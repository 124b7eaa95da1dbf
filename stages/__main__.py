"""`python -m stages capture`, the command of stage `capture` in dvc.yaml: run `stages/capture.py`.

A stage of a family (a scheme, a profile set, a router, a method) learns its name from DVC, which sets `DVC_STAGE` to
`evaluate@wina`, so that no command is made from a name; by hand it is `python -m stages evaluate --name wina`.

The digests of all code are taken first and everything is imported afterwards, so that what is recorded is what ran.
"""

from __future__ import annotations

from stages.inputs import snapshot

if __name__ == "__main__":
    snapshot.at_start = snapshot.Snapshot()

    from pipeline.config.hub import ask_for_nothing_if_local

    ask_for_nothing_if_local()

    from stages.run import run_stage

    run_stage()
