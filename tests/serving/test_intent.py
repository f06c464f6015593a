import json

import numpy as np
import pytest

from serving.intent import IntentModel
from serving.manifest import ManifestError, write_manifest
from tests.serving.keyword_model import KEYWORDS, keyword_model


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return IntentModel(keyword_model(tmp_path_factory.mktemp("models") / "intent"))


def test_predicts_label_confidence_and_alternatives_in_order(model):
    (found,) = model.predict(["what does it cost, and charging?"])
    assert {found.label, found.alternatives[0].label} == {"product_price", "slow_charging"}
    scores = [found.confidence, *(other.confidence for other in found.alternatives)]
    assert scores == sorted(scores, reverse=True)


def test_confidence_is_the_softmax_of_the_logits(model):
    (found,) = model.predict(["price"])
    expected = np.exp(4) / (np.exp(4) + len(KEYWORDS) - 1)
    assert found.confidence == pytest.approx(expected, abs=1e-6)


def test_temperature_calms_the_confidence(tmp_path):
    hot = IntentModel(keyword_model(tmp_path / "hot", temperature=4.0))
    (found,) = hot.predict(["price"])
    assert found.confidence == pytest.approx(np.e / (np.e + len(KEYWORDS) - 1), abs=1e-6)


def test_a_text_has_the_same_answer_alone_and_in_a_batch(model):
    texts = ["price", "can I return a parcel with this code " * 3, ""]
    assert model.predict(texts) == [model.predict([text])[0] for text in texts]
    assert model.predict([]) == []


def test_long_texts_are_cut_to_the_models_length(model):
    (found,) = model.predict(["price " + "filler " * 500 + "mortgage " * 500])
    assert found.label == "product_price"


def test_a_changed_file_is_refused(tmp_path):
    directory = keyword_model(tmp_path / "model")
    (directory / "onnx" / "serving.json").write_text("{}")
    with pytest.raises(ManifestError, match=r"serving\.json"):
        IntentModel(directory)


def test_a_model_without_export_is_refused(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"0")
    write_manifest(tmp_path, "model")
    with pytest.raises(ManifestError, match="export the model first"):
        IntentModel(tmp_path)


@pytest.mark.parametrize("change", [{"labels": []}, {"temperature": 0}, {"inputs": ["input_ids"]}])
def test_a_serving_description_that_does_not_fit_is_refused(tmp_path, change):
    directory = keyword_model(tmp_path / "model")
    path = directory / "onnx" / "serving.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    write_manifest(directory, "model")
    with pytest.raises(ManifestError):
        IntentModel(directory)
