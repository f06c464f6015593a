"""How well a model does on a split, read by all ranks together."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch.nn import functional

from components.training.data import IGNORED, Collator, TicketRows, by_length
from components.training.spec import Task
from components.training.world import World

READ_BATCH = 64


@torch.no_grad()
def measure(
    model: Any, rows: TicketRows, task: Task, collator: Collator, world: World
) -> dict[str, float]:
    """Returns `accuracy` and mean `loss` (nats) over the labelled positions of `rows`.

    For task `answer` the positions are the target's tokens, and `perplexity` stands beside.
    Empty where nothing is labelled.
    """
    model.eval()
    sums = torch.zeros(3, dtype=torch.float64)
    for share in by_length(rows, READ_BATCH, world.rank, world.size):
        batch = {name: value.to(world.device) for name, value in collator(share).items()}
        logits = model(
            input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]
        ).logits.float()
        labels = batch["labels"]
        if task == "answer":
            logits, labels = logits[:, :-1], labels[:, 1:]
        kept = labels != IGNORED
        logits, labels = logits[kept], labels[kept]
        loss = functional.cross_entropy(logits, labels, reduction="sum")
        right = (logits.argmax(-1) == labels).sum()
        sums += torch.tensor([len(labels), float(loss), float(right)], dtype=torch.float64)
    count, loss_sum, right_sum = (
        sum(column) for column in zip(*world.gather(sums.tolist()), strict=True)
    )
    if not count:
        return {}
    figures = {"accuracy": right_sum / count, "loss": loss_sum / count}
    if task == "answer":
        figures["perplexity"] = math.exp(figures["loss"])
    return figures
