"""What the pipelines page shows of a roll-out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def log_rollout(rollout: Any, metrics: Any) -> None:
    """Puts the outcome on the record's artifact and the last step's rates on the metrics.

    Args:
        rollout: The artifact whose path holds the record; nothing is told where it is missing.
        metrics: A kfp `Metrics` artifact.
    """
    path = Path(rollout.path)
    if not path.is_file():
        return
    record = json.loads(path.read_text(encoding="utf-8"))
    rollout.metadata["outcome"] = record["outcome"] or "stopped"
    rollout.metadata["version"] = record["version"]
    for step in record["steps"]:
        weight = step["weight"]
        metrics.log_metric(f"requests_at_{weight}", step["new"]["answers"] + step["new"]["errors"])
        if (share := step.get("agreement", {}).get("share")) is not None:
            metrics.log_metric(f"agreement_at_{weight}", share)
        for name in ("error_rate", "abstention", "p95_s"):
            metrics.log_metric(f"{name}_at_{weight}", step["new"][name])
