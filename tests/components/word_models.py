"""Exported models whose every answer is known beforehand: a table from words to logits."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from serving.manifest import write_manifest

SPECIAL = ("[PAD]", "[UNK]")
WIDTH = 512
END = "[END]"


def write_intent_model(
    folder: Path,
    labels: Sequence[str],
    words: Mapping[str, str],
    *,
    cost: int = 0,
    parameters: int = 1000,
) -> str:
    """Writes a classifier that sees an intent by its word, the first label where it sees none.

    Args:
        folder: Where to.
        labels: In the order of the logits.
        words: Intent of each word it knows.
        cost: Matrix products of no effect, about 0.05 ms each.
        parameters: What its manifest says it has.

    Returns:
        The folder as a location.
    """
    vocabulary = [*SPECIAL, *words]
    table = np.zeros((len(vocabulary), len(labels)), np.float32)
    for index, word in enumerate(vocabulary[len(SPECIAL) :], start=len(SPECIAL)):
        table[index, labels.index(words[word])] = 4.0
    _write_tokenizer(folder, vocabulary)
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["each"]),
        helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["mask", "last"], ["mask3"]),
        helper.make_node("Mul", ["each", "mask3"], ["kept"]),
        helper.make_node("ReduceSum", ["kept", "middle"], ["seen"], keepdims=0),
        *_waste(cost),
        helper.make_node("Add", ["seen", "nothing"], ["logits"]),
    ]
    _write_graph(folder, nodes, table, ["batch", len(labels)])
    return _finish(folder, "intent", list(labels), parameters)


def write_answer_model(folder: Path, following: Mapping[str, str], *, cost: int = 0) -> str:
    """Writes a language model that knows of each word which one follows."""
    vocabulary = [*SPECIAL, END, *sorted({*following, *following.values()} - {END})]
    table = np.zeros((len(vocabulary), len(vocabulary)), np.float32)
    for word, after in following.items():
        table[vocabulary.index(word), vocabulary.index(after)] = 8.0
    _write_tokenizer(folder, vocabulary)
    (folder / "tokenizer_config.json").write_text(json.dumps({"eos_token": END}))
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["each"]),
        helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
        *_waste(cost),
        helper.make_node("Add", ["each", "nothing"], ["logits"]),
    ]
    _write_graph(folder, nodes, table, ["batch", "tokens", len(vocabulary)])
    return _finish(folder, "answer", [], 1000)


def _waste(cost: int) -> list[Any]:
    """Nodes that compute `nothing`, a zero, out of the mask."""
    nodes = [
        helper.make_node("ReduceMax", ["mask"], ["one"], keepdims=0),
        helper.make_node("Mul", ["one", "wide"], ["waste0"]),
    ]
    for at in range(cost):
        nodes.append(helper.make_node("MatMul", [f"waste{at}", "square"], [f"waste{at + 1}"]))
    nodes.append(helper.make_node("ReduceMax", [f"waste{cost}"], ["nothing"], keepdims=0))
    return nodes


def _write_graph(folder: Path, nodes: list[Any], table: Any, output: list[Any]) -> None:
    constants = {
        "table": table,
        "last": np.array([2], np.int64),
        "middle": np.array([1], np.int64),
        "wide": np.zeros((1, WIDTH), np.float32),
        "square": np.zeros((WIDTH, WIDTH), np.float32),
    }
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "tokens"])
        for name in ("input_ids", "attention_mask")
    ]
    used = {name for node in nodes for name in node.input}
    graph = helper.make_graph(
        nodes,
        "words",
        inputs,
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, output)],
        [numpy_helper.from_array(value, name) for name, value in constants.items() if name in used],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    (folder / "onnx").mkdir(parents=True, exist_ok=True)
    # ReduceMax with no axes and a scalar product are within opset 17
    onnx.save(model, folder / "onnx" / "model.onnx")


def _write_tokenizer(folder: Path, vocabulary: Sequence[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    ids = {word: index for index, word in enumerate(vocabulary)}
    tokenizer = Tokenizer(WordLevel(ids, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.save(str(folder / "tokenizer.json"))


def _finish(folder: Path, task: str, labels: list[str], parameters: int) -> str:
    serving = {
        "task": task,
        "labels": labels,
        "max_length": 32,
        "pad_token_id": 0,
        "inputs": ["input_ids", "attention_mask"],
        "precision": "fp32",
        "temperature": 1.0,
        "out_of_scope_threshold": 0.0,
    }
    (folder / "onnx" / "serving.json").write_text(json.dumps(serving))
    counted = {"total": parameters, "encoder": parameters // 2}
    write_manifest(
        folder, "model", task=task, labels=labels, max_length=32, parameters=counted, base_model="w"
    )
    return str(folder)
