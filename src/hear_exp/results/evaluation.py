"""When two runs are the same evaluation but for the seed, and what that evaluation is called."""

from __future__ import annotations

import json
from dataclasses import asdict

from ..files import json_digest
from .result import Result


def variant(result: Result) -> tuple[str, ...]:
    """What makes a row of a comparison on one task: model with its embeddings, predictor, protocol with its changes."""
    changes = json.dumps(dict(result.protocol_changes), sort_keys=True)
    return result.model, result.embedding_id, result.predictor, result.protocol, changes


def searched(result: Result) -> str:
    """What was searched, and how it was computed: runs of a variant that agree in it differ in seed at most."""
    points = [dict(point.hyperparameters) for point in result.grid]
    return json.dumps([points, dict(result.computation)], sort_keys=True)


def evaluation(result: Result) -> str:
    """A name that runs share if and only if they differ in seed at most: what their scores may be averaged by."""
    protocol = result.protocol + ("*" if result.protocol_changes else "")
    task = result.task + (f" ({result.task_mode})" if result.task_mode else "")
    digest = json_digest([asdict(result.task_id), result.primary_metric, variant(result), searched(result)])
    return f"{result.model}, {task}, {result.predictor}, {protocol} [{digest[:6]}]"
