"""How far a student's distribution is from its teacher's: all classes, or the teacher's largest.

Each divergence is the mean over positions, in nats, times T²: softening both distributions by a
temperature T makes the gradients 1 / T² as large (Hinton et al. 2015, section 2).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch.nn import functional

from components.training.spec import Divergence

BETA = 0.5  # the teacher's share in the mixture of the Jensen-Shannon divergence
LOG_NOTHING = -80.0  # stands for log(0): e^-80 adds nothing in fp32, and fp16 holds -80


@dataclass(frozen=True)
class TopLogits:
    """A teacher's largest probabilities at one temperature, and the mass of all others.

    Args:
        ids: Student's ids of the tokens, [positions, k], int64.
        log_probs: [positions, k + 1], at that temperature; the last is of all other tokens
            together.
    """

    ids: torch.Tensor
    log_probs: torch.Tensor


def soft_loss(
    student: torch.Tensor,
    teacher: torch.Tensor,
    temperature: float,
    divergence: Divergence = "forward",
) -> torch.Tensor:
    """Returns T² times the divergence at temperature T, the mean over positions (nats).

    Args:
        student: Logits [positions, classes].
        teacher: Logits of the same shape; no gradient flows into them.
        temperature: T > 0.
        divergence: Which one.
    """
    own = functional.log_softmax(student.float() / temperature, dim=-1)
    wanted = functional.log_softmax(teacher.float() / temperature, dim=-1)
    return temperature**2 * _mean_divergence(own, wanted, divergence)


def top_loss(
    student: torch.Tensor,
    teacher: TopLogits,
    temperature: float,
    divergence: Divergence = "forward",
) -> torch.Tensor:
    """Returns `soft_loss` over k + 1 classes: the teacher's k tokens and everything else.

    The student's share of everything else is summed over its other tokens: 1 less its k
    probabilities would lose every digit where they come near 1.

    Args:
        student: Logits [positions, vocabulary], not yet softened.
        teacher: Of the same positions, kept at `temperature`.
        temperature: T > 0.
        divergence: Which one.
    """
    every = functional.log_softmax(student.float() / temperature, dim=-1)
    rest = every.scatter(-1, teacher.ids, LOG_NOTHING).logsumexp(-1, keepdim=True)
    own = torch.cat([every.gather(-1, teacher.ids), rest], dim=-1)
    wanted = functional.log_softmax(teacher.log_probs.float(), dim=-1)  # sums to 1 after fp16 too
    return temperature**2 * _mean_divergence(own, wanted, divergence)


def keep_top(
    logits: torch.Tensor, k: int, temperature: float, vocabulary: torch.Tensor | None = None
) -> TopLogits:
    """Returns the k largest probabilities among the student's tokens, and the mass of the rest.

    Both are softened here. The rest at temperature T sums p^(1/T) over tokens that are not kept,
    so nothing that was kept at another temperature could give it. Teacher's tokens that the
    student lacks are in the rest, unless the student has no other token left for it.

    Args:
        logits: The teacher's, [positions, its vocabulary].
        k: Tokens to keep; more than there are keeps all.
        temperature: T > 0.
        vocabulary: The teacher's id of each of the student's tokens; None where they are the same.
    """
    every = functional.log_softmax(logits.float() / temperature, dim=-1)
    own = every if vocabulary is None else every[:, vocabulary]
    largest, ids = own.topk(min(k, own.shape[-1]), dim=-1)
    if k >= own.shape[-1]:
        rest = torch.full_like(largest[:, :1], LOG_NOTHING)
    else:
        its = ids if vocabulary is None else vocabulary[ids]
        rest = every.scatter(-1, its, LOG_NOTHING).logsumexp(-1, keepdim=True)
    return TopLogits(ids, torch.cat([largest, rest], dim=-1).clamp(min=LOG_NOTHING))


def _mean_divergence(
    student: torch.Tensor, teacher: torch.Tensor, divergence: Divergence
) -> torch.Tensor:
    """Returns the mean divergence of log-probabilities [positions, classes].

    - `forward`: KL(teacher || student).
    - `reverse`: KL(student || teacher), over the whole distribution of each position as it stands;
      MiniLLM (Gu et al. 2024) takes the same divergence over texts that the student samples.
    - `jsd`: generalised Jensen-Shannon, beta KL(teacher || M) + (1 - beta) KL(student || M) with
      M = beta teacher + (1 - beta) student (Agarwal et al. 2024, section 3).
    """
    if divergence == "forward":
        return _mean_kl(teacher, student)
    if divergence == "reverse":
        return _mean_kl(student, teacher)
    mixture = torch.logaddexp(teacher + math.log(BETA), student + math.log(1 - BETA))
    return BETA * _mean_kl(teacher, mixture) + (1 - BETA) * _mean_kl(student, mixture)


def _mean_kl(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Returns the mean over positions of KL(first || second), both log-probabilities."""
    return functional.kl_div(second, first, reduction="batchmean", log_target=True)
