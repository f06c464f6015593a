import pytest
import torch
from torch.nn import functional

from components.training.data import IGNORED
from components.training.probe import Probe, choose_share, mix_opinions
from kg_schema.errors import InputError

CORNERS = torch.eye(3)


def test_a_probe_learns_from_labelled_rows_and_reads_all() -> None:
    rows = torch.arange(90) % 3
    noise = torch.randn(90, 3, generator=torch.Generator().manual_seed(0))
    embeddings = 5 * CORNERS[rows] + 0.3 * noise
    labels = torch.where(torch.arange(90) < 60, rows, IGNORED)
    wanted = torch.where(labels == IGNORED, IGNORED, 2 * labels)
    said = Probe(embeddings.half(), wanted, classes=6)(embeddings.half())
    torch.testing.assert_close(said.sum(1), torch.ones(90))
    assert torch.equal(said.argmax(1), 2 * rows)
    assert not said[:, 1::2].any()


def test_the_length_of_an_embedding_says_nothing() -> None:
    labels = torch.tensor([0, 1, 2, 0, 1, 2])
    embeddings = CORNERS.repeat(2, 1)
    probe = Probe(embeddings, labels, 3)
    torch.testing.assert_close(Probe(40 * embeddings, labels, 3)(7 * embeddings), probe(embeddings))


def test_one_class_is_nothing_to_probe_for() -> None:
    with pytest.raises(InputError, match="two classes"):
        Probe(CORNERS, torch.tensor([1, 1, IGNORED]), 3)


def test_a_second_opinion_is_heard_as_far_as_it_helps() -> None:
    labels = torch.tensor([0, 1, 2, IGNORED])
    right = functional.one_hot(labels.clamp(min=0), 3).float()
    wrong = right.roll(1, dims=1)
    unsure = torch.full((4, 3), 1 / 3)
    surely = 8 * right
    assert choose_share(surely, wrong, labels, 0.5) == 0.0
    assert choose_share(unsure.log(), right, labels, 0.5) == 0.5
    assert choose_share(8 * wrong, right, labels, 1.0) == 1.0
    half_right = torch.cat([surely[:2], 8 * wrong[2:]])
    other_half = torch.cat([unsure[:2], right[2:]])
    assert 0.0 < choose_share(half_right, other_half, labels, 1.0) < 1.0


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_opinions_are_mixed_as_probabilities(share) -> None:
    logits = torch.tensor([[2.0, 0.0, -1.0], [40.0, 0.0, 0.0]], dtype=torch.float16)
    said = torch.tensor([[0.1, 0.2, 0.7], [0.0, 1.0, 0.0]])
    mixed = mix_opinions(logits, said, share)
    assert mixed.dtype == torch.float16
    assert mixed.isfinite().all()
    wanted = (1 - share) * logits.float().softmax(-1) + share * said
    torch.testing.assert_close(mixed.float().softmax(-1), wanted, atol=2e-3, rtol=0)
