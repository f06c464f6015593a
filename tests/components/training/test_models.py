from pathlib import Path

import pytest
import torch
from torch import nn

from components.training.models import freeze, open_model, optimizer_groups, set_dropout
from kg_schema.errors import InputError
from tests.components.training.tiny import LABELS, make_classifier, make_decoder, make_tokenizer


def test_a_headless_encoder_gets_a_head_for_the_labels(base: Path) -> None:
    model, _ = open_model(base, "intent", LABELS)
    assert model.config.id2label == dict(enumerate(LABELS))
    assert model.classifier.out_features == len(LABELS)


def test_a_head_for_other_labels_is_refused(tmp_path: Path) -> None:
    folder = make_classifier(tmp_path / "model")
    open_model(folder, "intent", LABELS)
    with pytest.raises(InputError, match="other labels"):
        open_model(folder, "intent", ["a", "b"])


def test_a_changed_directory_is_not_opened(tmp_path: Path) -> None:
    folder = make_classifier(tmp_path / "model")
    (folder / "config.json").write_text("{}")
    with pytest.raises(Exception, match=r"config.json"):
        open_model(folder, "intent", LABELS)


def test_pickled_weights_are_never_read(tmp_path: Path) -> None:
    make_tokenizer().save_pretrained(tmp_path)
    from tests.components.training.tiny import bert_config

    bert_config().save_pretrained(tmp_path)
    torch.save({}, tmp_path / "pytorch_model.bin")
    with pytest.raises(InputError):
        open_model(tmp_path, "intent", LABELS)


def test_the_fresh_head_has_its_own_rate_and_vectors_do_not_decay(base: Path) -> None:
    model, _ = open_model(base, "intent", LABELS)
    freeze(model, embeddings=True, layers=1)
    groups = optimizer_groups(model, 1e-4, 1e-3, 0.01)
    counted = {
        (group["lr"], group["weight_decay"]): sum(each.numel() for each in group["params"])
        for group in groups
    }
    assert counted[1e-3, 0.01] == 32 * 32 + 32 * len(LABELS)
    assert counted[1e-3, 0.0] == 32 + len(LABELS)
    assert set(counted) == {(1e-3, 0.01), (1e-3, 0.0), (1e-4, 0.01), (1e-4, 0.0)}
    trained = sum(counted.values())
    assert trained == sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert not any(p.requires_grad for p in model.bert.embeddings.parameters())
    assert not any(p.requires_grad for p in model.bert.encoder.layer[0].parameters())


def test_freezing_more_layers_than_there_are_is_bad_input(base: Path) -> None:
    model, _ = open_model(base, "intent", LABELS)
    with pytest.raises(InputError):
        freeze(model, embeddings=False, layers=3)


def test_dropout_is_set_in_encoders_and_decoders_but_not_in_the_configuration(
    base: Path, tmp_path: Path
) -> None:
    encoder, _ = open_model(base, "intent", LABELS)
    set_dropout(encoder, 0.25)
    assert {each.p for each in encoder.modules() if isinstance(each, nn.Dropout)} == {0.25}
    assert encoder.config.hidden_dropout_prob == 0.1
    decoder, _ = open_model(make_decoder(tmp_path / "decoder"), "answer", [])
    set_dropout(decoder, 0.25)
    assert decoder.model.layers[0].self_attn.attention_dropout == 0.25
