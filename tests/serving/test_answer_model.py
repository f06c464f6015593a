import pytest

from serving.answer_model import AnswerModel
from serving.manifest import ManifestError
from tests.serving.tiny_models import answer_model


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return AnswerModel(answer_model(tmp_path_factory.mktemp("models") / "answer"))


def test_it_goes_on_greedily_and_ends_where_the_model_ends(model):
    assert model.generate("the warranty") == ("two years", 2, True)


def test_it_stops_at_the_limit_of_tokens(model):
    assert model.generate("hello", max_new_tokens=3) == ("hello hello hello", 3, False)


def test_a_long_prompt_keeps_its_end_and_leaves_room_for_an_answer(model):
    text, tokens, finished = model.generate("hello " * 100 + "warranty")
    assert (text, tokens, finished) == ("two years", 2, True)
    _, tokens, finished = model.generate("hello " * 100)
    assert (tokens, finished) == (8, False)


def test_a_prompt_of_no_tokens_is_answered_with_nothing(model):
    assert model.generate("") == ("", 0, True)


def test_a_directory_without_its_serving_file_is_named(tmp_path):
    directory = answer_model(tmp_path / "m")
    (directory / "onnx" / "serving.json").unlink()
    with pytest.raises(ManifestError, match=r"serving\.json"):
        AnswerModel(directory)
