"""Trims a tokenizer to a domain, so that no text becomes unencodable.

What always stays: added and special tokens, every piece of one character (of one byte, in
byte-level vocabularies), byte-fallback pieces. Any word can still be spelled from these. A text
whose tokens all stay is encoded as before, piece by piece:

- WordPiece takes the longest piece that fits; with fewer pieces the longest is the same as long
  as it stays.
- BPE applies merges by rank; a kept token brings along the pieces it is merged from, so the
  merges that lead to it stay, in the same order, and none that is gone was among them.
"""

from __future__ import annotations

import json
import logging
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kg_schema.errors import DeskGraphError, InputError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

BATCH = 1000
CHECKED_TEXTS = 200
KEPT_FILES = frozenset({"tokenizer.json", "tokenizer_config.json", "chat_template.jinja"})
BYTE_PIECES = frozenset(f"<0x{value:02X}>" for value in range(256))

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Trimmed:
    """A smaller tokenizer and where its tokens come from.

    Args:
        tokenizer: Of the same class.
        kept: The old ids, ascending; a token's new id is its place here.
    """

    tokenizer: PreTrainedTokenizerBase
    kept: tuple[int, ...]


def trim_tokenizer(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], size: int) -> Trimmed:
    """Keeps about `size` tokens: what must stay, what the texts use, then the tokenizer's order.

    Args:
        tokenizer: Backed by a `tokenizer.json` with a WordPiece or BPE model.
        texts: Of the domain.
        size: Tokens to keep; more are kept if that many must stay.

    Raises:
        InputError: The tokenizer is of another kind.
        DeskGraphError: The smaller tokenizer does not encode the texts as the old one did.
    """
    spec = _backend(tokenizer)
    kept = _choose(spec, _usage(tokenizer, texts), size)
    if len(kept) >= len(tokenizer):
        return Trimmed(tokenizer, tuple(sorted(kept)))
    order = tuple(sorted(kept))
    smaller = _rebuild(tokenizer, _rewritten(spec, order))
    _check(tokenizer, smaller, order, texts[:CHECKED_TEXTS])
    logger.info("vocabulary: %d of %d tokens kept", len(order), len(tokenizer))
    return Trimmed(smaller, order)


def _backend(tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
    backend = getattr(tokenizer, "backend_tokenizer", None)
    spec: dict[str, Any] = json.loads(backend.to_str()) if backend is not None else {}
    kind = spec.get("model", {}).get("type")
    if kind not in ("WordPiece", "BPE"):
        raise InputError(
            f"cannot trim a vocabulary of kind {kind!r}", fix="set vocabulary to 0 to keep it"
        )
    return spec


def _usage(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> Counter[int]:
    usage: Counter[int] = Counter()
    for start in range(0, len(texts), BATCH):
        for ids in tokenizer(list(texts[start : start + BATCH]))["input_ids"]:
            usage.update(ids)
    return usage


def _choose(spec: Mapping[str, Any], usage: Counter[int], size: int) -> set[int]:
    vocabulary: dict[str, int] = spec["model"]["vocab"]
    parents = _parents(spec["model"], vocabulary)
    kept = {int(token["id"]) for token in spec["added_tokens"]}
    kept |= {vocabulary[piece] for piece in vocabulary if _must_stay(piece, spec["model"])}
    kept |= {vocabulary[piece] for piece in _unspellable(spec["model"])}
    used = sorted(usage, key=lambda token: (-usage[token], token))
    for token in (*used, *sorted(vocabulary.values())):
        if len(kept) >= size:
            break
        if token not in kept:
            kept |= set(_closure(token, parents))
    return kept


def _must_stay(piece: str, model: Mapping[str, Any]) -> bool:
    prefix = model.get("continuing_subword_prefix") or ""
    suffix = model.get("end_of_word_suffix") or ""
    bare = piece.removeprefix(prefix).removesuffix(suffix)
    return len(bare) <= 1 or piece in BYTE_PIECES or piece == model.get("unk_token")


def _unspellable(model: Mapping[str, Any]) -> Iterator[str]:
    """Yields WordPiece pieces with a letter that the vocabulary does not hold alone in its place.

    A BPE vocabulary has none: its merges start from single letters.
    """
    if model["type"] != "WordPiece":
        return
    prefix, vocabulary = model["continuing_subword_prefix"], model["vocab"]
    for piece in vocabulary:
        starts = not piece.startswith(prefix)
        letters = piece if starts else piece.removeprefix(prefix)
        rest = letters[1:] if starts else letters
        alone = not starts or letters[:1] in vocabulary
        if not alone or any(f"{prefix}{letter}" not in vocabulary for letter in rest):
            yield piece


def _parents(model: Mapping[str, Any], vocabulary: Mapping[str, int]) -> dict[int, tuple[int, int]]:
    """Returns, for each merged token of a BPE model, the two tokens its first merge joins."""
    parents: dict[int, tuple[int, int]] = {}
    for left, right in _merges(model):
        merged = vocabulary[_joined(left, right, model)]
        parents.setdefault(merged, (vocabulary[left], vocabulary[right]))
    return parents


def _merges(model: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for merge in model.get("merges", []):
        left, right = merge.split(" ") if isinstance(merge, str) else merge
        yield left, right


def _joined(left: str, right: str, model: Mapping[str, Any]) -> str:
    return left + right.removeprefix(model.get("continuing_subword_prefix") or "")


def _closure(token: int, parents: Mapping[int, tuple[int, int]]) -> Iterator[int]:
    pending = [token]
    while pending:
        each = pending.pop()
        yield each
        pending.extend(parents.get(each, ()))


def _rewritten(spec: dict[str, Any], order: Sequence[int]) -> dict[str, Any]:
    """Returns the tokenizer's description with the kept tokens under their new ids."""
    new = {old: place for place, old in enumerate(order)}
    model = dict(spec["model"])
    model["vocab"] = {piece: new[old] for piece, old in model["vocab"].items() if old in new}
    if "merges" in model:
        vocabulary = model["vocab"]
        model["merges"] = [
            [left, right]
            for left, right in _merges(model)
            if {left, right, _joined(left, right, model)} <= vocabulary.keys()
        ]
    added = [{**token, "id": new[token["id"]]} for token in spec["added_tokens"]]
    padding = spec.get("padding")
    if padding:
        padding = {**padding, "pad_id": new[padding["pad_id"]]}
    return {
        **spec,
        "model": model,
        "added_tokens": added,
        "padding": padding,
        "post_processor": _renumber(spec.get("post_processor"), new),
    }


def _renumber(node: Any, new: Mapping[int, int]) -> Any:
    """Renumbers the ids inside a post-processor: `ids` of templates, `sep` and `cls` pairs."""
    if isinstance(node, list):
        return [_renumber(each, new) for each in node]
    if not isinstance(node, dict):
        return node
    fresh: dict[str, Any] = {}
    for key, value in node.items():
        if key == "ids":
            fresh[key] = [new[old] for old in value]
        elif key in ("sep", "cls"):
            fresh[key] = [value[0], new[value[1]]]
        else:
            fresh[key] = _renumber(value, new)
    return fresh


def _rebuild(
    tokenizer: PreTrainedTokenizerBase, spec: Mapping[str, Any]
) -> PreTrainedTokenizerBase:
    """Loads the rewritten description the way any other process will."""
    from transformers import AutoTokenizer

    with tempfile.TemporaryDirectory() as folder:
        tokenizer.save_pretrained(folder)
        for path in Path(folder).iterdir():
            if path.is_file() and path.name not in KEPT_FILES:
                path.unlink()
        config_path = Path(folder) / "tokenizer_config.json"
        config = json.loads(config_path.read_text(encoding="utf-8"))
        config.pop("added_tokens_decoder", None)
        config_path.write_text(json.dumps(config), encoding="utf-8")
        (Path(folder) / "tokenizer.json").write_text(
            json.dumps(spec, ensure_ascii=False), encoding="utf-8"
        )
        smaller: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
    return smaller


def _check(
    old: PreTrainedTokenizerBase,
    smaller: PreTrainedTokenizerBase,
    order: Sequence[int],
    texts: Iterable[str],
) -> None:
    """Compares names of tokens, and encodings of texts whose tokens all stayed.

    Raises:
        DeskGraphError: They differ.
    """
    new = {each: place for place, each in enumerate(order)}
    names = old.convert_ids_to_tokens(list(order))
    same = smaller.convert_ids_to_tokens(list(range(len(order)))) == names
    for text in texts:
        ids = old(text)["input_ids"]
        if same and all(each in new for each in ids):
            same = smaller(text)["input_ids"] == [new[each] for each in ids]
    if not same or len(smaller) != len(order):
        raise DeskGraphError(
            "the trimmed tokenizer does not encode as its parent did",
            where=type(old).__name__,
            fix="set vocabulary to 0 to keep it whole",
        )
