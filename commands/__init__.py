"""What people run that is no stage: check, preset, estimate, confirm, power and others.

The environment that stages compute in is set by `stages`, before anything else is imported.
"""

import stages as stages
from pipeline.config.hub import ask_for_nothing_if_local

ask_for_nothing_if_local()
