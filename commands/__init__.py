"""What people run that is no stage: check, preset, estimate.

The environment that stages compute in is set by `stages`, before anything else is imported.
"""

import stages as stages
