"""Model directories of a few kilobytes, real ONNX and real tokenizers, for whoever serves one."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.normalizers import Lowercase
from tokenizers.pre_tokenizers import Whitespace

from serving.manifest import write_manifest

LABELS = ("out_of_scope", "return_window", "warranty_length")
WORDS = ("[PAD]", "[UNK]", "</s>", "warranty", "return", "hello", "two", "years")


def intent_model(
    directory: Path,
    labels: Sequence[str] = LABELS,
    note: str = "",
    *,
    words: int = len(WORDS),
    work: int = 0,
    **settings: float,
) -> Path:
    """A classifier that knows one word a label; `note` changes the content's digest.

    A word beyond the first `words` makes it fail; `work` is the side of a matrix that it squares
    for every answer, to take its time.
    """
    table = np.zeros((words, len(labels)), np.float32)
    table[WORDS.index("return"), 1] = table[WORDS.index("warranty"), 2] = 20
    table[WORDS.index("hello"), 0] = 1
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["rows"], axis=0),
        helper.make_node("ReduceSum", ["rows", "axes"], ["sums"], keepdims=0),
        helper.make_node("ReduceSum", ["sums"], ["sum"], keepdims=0),
        helper.make_node("Mul", ["square", "sum"], ["scaled"]),
        helper.make_node("MatMul", ["scaled", "square"], ["product"]),
        helper.make_node("ReduceMin", ["product"], ["nothing"], keepdims=0),
        helper.make_node("Add", ["sums", "nothing"], ["logits"]),
    ]
    square = np.zeros((max(1, work), max(1, work)), np.float32)
    constants = {"table": table, "axes": np.array([1], np.int64), "square": square}
    serving: dict[str, object] = {
        "task": "intent",
        "labels": list(labels),
        "max_length": 64,
        "pad_token_id": 0,
        "inputs": ["input_ids", "attention_mask"],
        "precision": "fp32",
        "temperature": 1.0,
        "out_of_scope_threshold": 0.0,
        "agreement": {"argmax": 1.0, "note": note},
        **settings,
    }
    return _write(directory, nodes, constants, ["batch", len(labels)], serving)


def answer_model(directory: Path, max_length: int = 16) -> Path:
    """A bigram language model: `warranty` goes on with `two years` and ends; `hello` never ends."""
    table = np.zeros((len(WORDS), len(WORDS)), np.float32)
    chain = [("warranty", "two"), ("two", "years"), ("years", "</s>"), ("hello", "hello")]
    for before, after in chain:
        table[WORDS.index(before), WORDS.index(after)] = 1
    nodes = [helper.make_node("Gather", ["table", "input_ids"], ["logits"], axis=0)]
    serving = {
        "task": "answer",
        "labels": [],
        "max_length": max_length,
        "pad_token_id": 0,
        "inputs": ["input_ids", "attention_mask"],
        "precision": "fp32",
    }
    return _write(directory, nodes, {"table": table}, ["batch", "length", len(WORDS)], serving)


def _write(directory, nodes, constants, shape, serving):
    (directory / "onnx").mkdir(parents=True)
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "length"])
        for name in serving["inputs"]
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        inputs,
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, directory / "onnx" / "model.onnx")
    (directory / "onnx" / "serving.json").write_text(json.dumps(serving))
    (directory / "config.json").write_text(json.dumps({"eos_token_id": WORDS.index("</s>")}))
    tokenizer = Tokenizer(
        WordLevel({word: index for index, word in enumerate(WORDS)}, unk_token="[UNK]")
    )
    tokenizer.normalizer = Lowercase()
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.save(str(directory / "tokenizer.json"))
    write_manifest(
        directory,
        "model",
        task=serving["task"],
        labels=serving["labels"],
        max_length=serving["max_length"],
        parent="0" * 64,
        data="1" * 64,
        base_model="tiny",
        parameters={"total": 24, "encoder": 0},
    )
    return directory
