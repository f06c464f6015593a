"""What a server says of itself: counters, latencies, a log line an answer; never its text."""

from __future__ import annotations

import json
import logging
import sys
import traceback
import uuid
from datetime import UTC, datetime
from typing import Any

from prometheus_client import Counter, Gauge, Histogram

from serving.contracts import Answer, ScoredIntent

_LOG = logging.getLogger(__name__)
PROBE_PREFIX = "deskgraph-probe-"
"""Begins the `x-request-id` of what no customer asked: warm-up, smoke and replayed tickets."""
_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

STEP_SECONDS = Histogram(
    "deskgraph_step_seconds", "Time of one step of an answer", ["step"], buckets=_BUCKETS_S
)
ANSWERS = Counter(
    "deskgraph_answers", "Answers given, by problem type and outcome", ["problem_type", "outcome"]
)
DEGRADED = Counter("deskgraph_degraded", "Answers that lacked a part of the system", ["part"])
REJECTED = Counter("deskgraph_rejected", "Requests refused, by reason", ["reason"])
INTENTS = Counter(
    "deskgraph_intents", "Tickets by the intent the model saw, out_of_scope where none", ["intent"]
)
INTENT_CONFIDENCE = Histogram(
    "deskgraph_intent_confidence",
    "Confidence of the likeliest intent",
    buckets=tuple(step / 20 for step in range(1, 21)),
)
GENERATED_TOKENS = Counter("deskgraph_generated_tokens", "Tokens written by the answer model")
IN_PROGRESS = Gauge("deskgraph_requests_in_progress", "Requests read and not yet answered")
READY = Gauge("deskgraph_ready", "1 while the model is verified, loaded and not draining")


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, message and the record's `fields`.

    An exception is told by its type and the lines of code it passed, without its message: a
    driver's message may quote a query, and with it a customer.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Returns the line."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line.update(getattr(record, "fields", {}))
        if record.exc_info and record.exc_info[0] is not None:
            line["error"] = record.exc_info[0].__name__
            line["trace"] = [
                f"{frame.filename}:{frame.lineno} {frame.name}"
                for frame in traceback.extract_tb(record.exc_info[2])
            ]
        return json.dumps(line, ensure_ascii=False, default=str)


def configure_logging(level: int = logging.INFO) -> None:
    """Sends every logger's records to standard error as JSON lines; replaces what was set."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    # What these say of every start, stop and request, ours says better.
    for name in ("uvicorn", "kserve", "httpx", "httpcore", "neo4j"):
        logging.getLogger(name).setLevel(logging.WARNING)


def record_answer(answer: Answer, request_id: str) -> None:
    """Counts one answer, observes its steps and logs it without any of its text."""
    outcome = "abstained" if answer.answer.abstained else "answered"
    ANSWERS.labels(answer.problem_type, outcome).inc()
    for step, milliseconds in answer.latency_ms.items():
        STEP_SECONDS.labels(step).observe(milliseconds / 1000)
    for part in answer.degraded:
        DEGRADED.labels(part).inc()
    _LOG.info(
        "answer",
        extra={
            "fields": {
                "request_id": request_id,
                "intent": answer.intent.label,
                "confidence": round(answer.intent.confidence, 3),
                "problem_type": answer.problem_type,
                "outcome": outcome,
                "entities": len(answer.entities),
                "facts": len(answer.facts),
                "claims": len(answer.answer.claims),
                "degraded": list(answer.degraded),
                "as_of": answer.as_of.isoformat(),
                "model": answer.versions.model,
                "graph": answer.versions.graph,
                "latency_ms": answer.latency_ms,
            }
        },
    )


def probe_headers() -> dict[str, str]:
    """Returns the headers of a request that is not to count as live traffic."""
    return {"x-request-id": f"{PROBE_PREFIX}{uuid.uuid4().hex}"}


def record_intent(seen: ScoredIntent, request_id: str) -> None:
    """Counts what the model saw: a label of its own or out_of_scope, so the set is bounded.

    Probes are left out: these counts are compared with what customers asked before.
    """
    if request_id.startswith(PROBE_PREFIX):
        return
    INTENTS.labels(seen.label).inc()
    INTENT_CONFIDENCE.observe(seen.confidence)


def record_generation(tokens: int, milliseconds: float, request_id: str) -> None:
    """Counts one text of the answer model and logs its size."""
    GENERATED_TOKENS.inc(tokens)
    STEP_SECONDS.labels("generate").observe(milliseconds / 1000)
    fields = {"request_id": request_id, "tokens": tokens, "latency_ms": round(milliseconds, 1)}
    _LOG.info("generation", extra={"fields": fields})


def record_rejection(reason: str) -> None:
    """Counts one refused request; `reason` is one of a few words, never a message."""
    REJECTED.labels(reason).inc()
