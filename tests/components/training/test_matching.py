from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from components.model_dir import load_model, save_model
from components.training.matching import require_comparable, token_map
from kg_schema.errors import InputError
from tests.components.training.tiny import (
    llama_config,
    make_classifier,
    make_decoder,
    make_tokenizer,
    make_trimmed,
)


def test_the_same_tokens_need_no_map(tmp_path: Path) -> None:
    teacher = load_model(make_decoder(tmp_path / "teacher"))
    student = make_decoder(tmp_path / "student", layers=1)
    assert token_map(*load_model(student), student, *teacher) is None


def test_a_student_of_fewer_tokens_tells_which(tmp_path: Path) -> None:
    directory = make_decoder(tmp_path / "teacher")
    teacher = load_model(directory)
    student = make_trimmed(directory, tmp_path / "student", ["battery", "week"])
    model, tokenizer = load_model(student)
    ids = token_map(model, tokenizer, student, *teacher)
    assert ids is not None
    words = teacher[1].convert_ids_to_tokens(ids.tolist())
    assert words == tokenizer.convert_ids_to_tokens(list(range(len(ids))))
    assert torch.equal(require_comparable(model, tokenizer, student, *teacher), ids)


def test_as_many_tokens_are_not_the_same_tokens(tmp_path: Path) -> None:
    teacher = load_model(make_decoder(tmp_path / "teacher"))
    (tmp_path / "student").mkdir()
    words = [f"other{at}" for at in range(len(make_tokenizer()) - 4)]
    other = AutoModelForCausalLM.from_config(llama_config())
    save_model(other, make_tokenizer(words), tmp_path / "student", task="answer")
    student = load_model(tmp_path / "student")
    with pytest.raises(InputError, match="different vocabularies"):
        token_map(*student, tmp_path / "student", *teacher)
    with pytest.raises(InputError, match="set hidden_weight to 0"):
        require_comparable(*student, tmp_path / "student", *teacher)


def test_states_of_another_family_do_not_compare(tmp_path: Path) -> None:
    teacher = load_model(make_decoder(tmp_path / "teacher"))
    student = make_classifier(tmp_path / "student")
    with pytest.raises(InputError, match=r"bert student .* llama .*set hidden_weight to 0"):
        require_comparable(*load_model(student), student, *teacher)
