import string
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, normalizers
from tokenizers.models import WordLevel, WordPiece
from tokenizers.normalizers import BertNormalizer, Lowercase
from tokenizers.pre_tokenizers import BertPreTokenizer, Whitespace
from tokenizers.processors import TemplateProcessing

from serving.tokens import LONGEST, Tokens

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
# No piece for most punctuation, nor for some letters: these words are unknown.
PIECES = ("card", "pay", "##ment", "##s", "my", "don", "'", "t", "?", "!", "a", "##b", "##1", "2")
WORDS = (*PIECES, "Card", "PAYMENT", "cards", "payments", "[CLS]", "[sep]", "[x]", "ab1", "é", "卡")
TEXTS = st.one_of(
    st.text(max_size=60),
    st.text(string.printable, max_size=60),
    st.lists(st.sampled_from((*WORDS, " ", "  ", "\n", "\x00", "\x0b", "-")), max_size=30).map(
        "".join
    ),
    st.lists(st.sampled_from(WORDS), max_size=20).map(" ".join),
)


def bert(*, lowercase: bool = True) -> Tokenizer:
    vocabulary = {piece: at for at, piece in enumerate((*SPECIAL, *PIECES, "Card", "[", "]"))}
    made = Tokenizer(WordPiece(vocabulary, unk_token="[UNK]"))
    made.normalizer = BertNormalizer(lowercase=lowercase)
    made.pre_tokenizer = BertPreTokenizer()
    made.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    made.add_special_tokens(list(SPECIAL))
    return made


def saved(tokenizer: Tokenizer, folder: Path) -> Path:
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder / "tokenizer.json"


@pytest.fixture(scope="module", params=[True, False], ids=["lowers", "as-it-is"])
def both(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple:
    tokenizer = bert(lowercase=request.param)
    path = saved(tokenizer, tmp_path_factory.mktemp("bert"))
    tokenizer.enable_truncation(12)
    return tokenizer, Tokens(path, 12, 0)


@given(TEXTS)
def test_a_text_has_the_ids_that_the_tokenizer_gives_it(both: tuple, text: str) -> None:
    tokenizer, tokens = both
    ids, mask = tokens.encode([text])
    assert ids.tolist() == [tokenizer.encode(text).ids]
    assert mask.tolist() == [[1] * ids.shape[1]]
    assert ids.dtype == mask.dtype == np.int64


@given(st.lists(TEXTS, min_size=2, max_size=5))
def test_a_batch_is_padded_on_the_right(both: tuple, texts: list[str]) -> None:
    tokenizer, tokens = both
    ids, mask = tokens.encode(texts)
    tokenizer.enable_padding(pad_id=0)
    wanted = tokenizer.encode_batch(texts)
    tokenizer.no_padding()
    assert ids.tolist() == [each.ids for each in wanted]
    assert mask.tolist() == [each.attention_mask for each in wanted]


@pytest.mark.parametrize("length", [LONGEST - 1, LONGEST, LONGEST + 1, 3 * LONGEST])
def test_a_long_word_is_read_as_the_tokenizer_reads_it(both: tuple, length: int) -> None:
    tokenizer, tokens = both
    for text in ("a" + "b" * (length - 1), "my " + "b" * length + " card"):
        assert tokens.encode([text])[0].tolist() == [tokenizer.encode(text).ids]


def test_a_word_is_remembered_unless_it_is_long_or_one_too_many(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serving.tokens.REMEMBERED", 3)
    tokenizer = bert()
    tokens = Tokens(saved(tokenizer, tmp_path), 12, 0)
    text = f"my {'x' * (LONGEST + 1)} cards, pay a card"
    wanted = tokenizer.encode(text).ids
    for _ in range(2):
        assert tokens.encode([text])[0].tolist() == [wanted]
    assert tokens._pieces.keys() == {"my", "cards", ","}


@pytest.mark.parametrize("normalizer", [Lowercase(), normalizers.Sequence([BertNormalizer()])])
@given(text=TEXTS)
def test_a_tokenizer_of_another_kind_reads_for_itself(
    tmp_path_factory: pytest.TempPathFactory, normalizer: object, text: str
) -> None:
    tokenizer = Tokenizer(WordLevel({"[UNK]": 0, "card": 1, "my": 2}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = Whitespace()
    path = saved(tokenizer, tmp_path_factory.mktemp("other"))
    tokenizer.enable_truncation(8)
    assert Tokens(path, 8, 0).encode([text])[0].tolist() == [tokenizer.encode(text).ids]
