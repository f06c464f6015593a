"""A text's token ids: word by word from what is remembered, where that says the same.

A tokenizer of the BERT kind parts plain ASCII into words and punctuation marks, and a word's
pieces depend on nothing but the word. So each is taken apart once and remembered; a text of 32
tokens is then read in a quarter of the tokenizer's time. Anything else goes to the tokenizer: other
scripts, control characters, what a special token may begin with, other kinds of tokenizers.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

Ids = NDArray[np.int64]

BERT = {"normalizer": "BertNormalizer", "pre_tokenizer": "BertPreTokenizer"}
PLAIN = "\t\n\r" + "".join(map(chr, range(ord(" "), ord("~") + 1)))
WORDS = re.compile(r"[A-Za-z0-9]+|[!-/:-@\[-`{-~]")
REMEMBERED = 2**15
LONGEST = 100
"""Characters of a remembered word at most, so that made-up ones do not fill memory."""


class Tokens:
    """Ids and mask of texts.

    Args:
        path: A `tokenizer.json`.
        max_length: Tokens at most, special ones included; longer texts are cut.
        pad_token_id: Fills the shorter texts of a batch.
    """

    def __init__(self, path: Path, max_length: int, pad_token_id: int) -> None:
        self._tokenizer = Tokenizer.from_file(str(path))
        self._tokenizer.enable_truncation(max_length)
        self._tokenizer.no_padding()
        self._pad = pad_token_id
        self._ones = np.ones((1, max_length), np.int64)
        self._pieces: dict[str, list[int]] = {}
        parts = json.loads(self._tokenizer.to_str())
        self._by_word = all((parts[name] or {}).get("type") == kind for name, kind in BERT.items())
        if self._by_word:
            self._lowers = bool(parts["normalizer"]["lowercase"])
            first = "".join(each["content"][0] for each in parts["added_tokens"])
            shut = first.lower() + first.upper()
            plain = "".join(each for each in PLAIN if each not in shut)
            self._plain = re.compile(f"[{re.escape(plain)}]*")
            around = self._tokenizer.encode("").ids
            at = self._tokenizer.encode("a").special_tokens_mask.index(0)
            self._before, self._after = around[:at], around[at:]
            self._room = max_length - len(around)

    def encode(self, texts: Sequence[str]) -> tuple[Ids, Ids]:
        """Returns ids and mask, [texts, tokens], as long as the longest of at least one text."""
        rows = [self._row(text) for text in texts]
        if len(rows) == 1:  # needs no padding
            return np.array(rows, np.int64), self._ones[:, : len(rows[0])]
        lengths = np.array([len(row) for row in rows])
        real = np.arange(lengths.max()) < lengths[:, None]
        ids = np.full(real.shape, self._pad, np.int64)
        ids[real] = np.concatenate(rows)
        return ids, real.astype(np.int64)

    def _row(self, text: str) -> list[int]:
        if self._by_word and self._plain.fullmatch(text):
            return self._read(text.lower() if self._lowers else text)
        ids: list[int] = self._tokenizer.encode(text).ids
        return ids

    def _read(self, text: str) -> list[int]:
        found: list[int] = []
        for word in WORDS.findall(text):
            found += self._pieces.get(word) or self._take_apart(word)
        return self._before + found[: self._room] + self._after

    def _take_apart(self, word: str) -> list[int]:
        pieces: list[int] = self._tokenizer.encode(word, add_special_tokens=False).ids
        if len(self._pieces) < REMEMBERED and len(word) <= LONGEST:
            self._pieces[word] = pieces
        return pieces
