"""What Dagster materialises, one file per group, and the checks, jobs, schedules and sensors round it.

Belongs here: how a step is named, described, partitioned and told about in the Dagster UI. Stays out: what a step does
(`pipeline`), rules about rows (`derive`), connections (`resources`).
"""

import warnings

from dagster import BetaWarning

# Pinned: what a minor release may change is changed with the pin. What else Dagster announces is shown.
warnings.filterwarnings(
    "ignore", message=r"Parameter `(backfill_policy|execution_type)` .* is currently in beta", category=BetaWarning
)
