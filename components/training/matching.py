"""What a student and its teacher must share before more than their logits can be compared."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from components.model_dir import read_compression
from kg_schema.errors import InputError

LOGITS_ALONE = "set hidden_weight to 0: between these two only logits compare"


def token_map(
    student: Any, own: Any, directory: Path, teacher: Any, its: Any
) -> torch.Tensor | None:
    """Returns the teacher's id of each of the student's tokens; None where they are the same.

    A student of fewer tokens tells in its compression.json which of the teacher's it kept.

    Args:
        student: The student.
        own: The student's tokenizer.
        directory: The student's.
        teacher: The teacher.
        its: The teacher's tokenizer.

    Raises:
        InputError: They have different vocabularies, or an id of the student stands for another
            token than the teacher's.
    """
    size = int(student.config.vocab_size)
    ids: range | list[int] = range(size)
    if size != teacher.config.vocab_size:
        kept = read_compression(directory).get("kept_vocabulary", {})
        ids = list(kept.get("indices", ()))
    words = its.get_vocab()
    if len(ids) != size or any(
        words.get(token) != ids[at] for token, at in own.get_vocab().items() if at < size
    ):
        raise InputError(
            "student and teacher have different vocabularies",
            where=str(directory),
            fix="use a student with the teacher's tokenizer, or one cut from the teacher",
        )
    return None if isinstance(ids, range) else torch.tensor(ids)


def require_comparable(
    student: Any, own: Any, directory: Path, teacher: Any, its: Any
) -> torch.Tensor | None:
    """Returns `token_map` of two models whose states can be compared.

    Raises:
        InputError: They are of different families or read different tokens.
    """
    kinds = student.config.model_type, teacher.config.model_type
    if kinds[0] != kinds[1]:
        raise InputError(
            f"a {kinds[0]} student has no states like its {kinds[1]} teacher's",
            where=str(directory),
            fix=LOGITS_ALONE,
        )
    try:
        return token_map(student, own, directory, teacher, its)
    except InputError as error:
        raise InputError(error.what, where=error.where, fix=LOGITS_ALONE) from None
