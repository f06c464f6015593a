"""An intent model that knows words: real ONNX, a real tokenizer, a sealed directory."""

import json
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.normalizers import Lowercase
from tokenizers.pre_tokenizers import Whitespace

from serving.manifest import write_manifest

KEYWORDS = {
    "out_of_scope": ["weather", "poem"],
    "slow_charging": ["charging", "charge"],
    "error_code_help": ["code"],
    "combine_promotions": ["combine"],
    "return_window": ["return", "window"],
    "order_status": ["parcel"],
    "product_price": ["cost", "price"],
    "loan_request": ["loan", "mortgage"],
}


def keyword_model(directory: Path, *, inputs=("input_ids", "attention_mask"), **settings) -> Path:
    """Logits are 4 for each keyword of a label; padding counts nothing, by the mask."""
    labels = list(KEYWORDS)
    words = ["[PAD]", "[UNK]", *(word for known in KEYWORDS.values() for word in known)]
    table = np.zeros((len(words), len(labels)), np.float32)
    for column, known in enumerate(KEYWORDS.values()):
        for word in known:
            table[words.index(word), column] = 4.0
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["rows"], axis=0),
        helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["mask", "last"], ["column"]),
        helper.make_node("Mul", ["rows", "column"], ["kept"]),
        helper.make_node("ReduceSum", ["kept", "tokens"], ["logits"], keepdims=0),
    ]
    constants = {
        "table": table,
        "last": np.array([2], np.int64),
        "tokens": np.array([1], np.int64),
    }
    shape = ["batch", "length"]
    graph = helper.make_graph(
        nodes,
        "keywords",
        [helper.make_tensor_value_info(name, TensorProto.INT64, shape) for name in inputs],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", len(labels)])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    (directory / "onnx").mkdir(parents=True)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, directory / "onnx" / "model.onnx")
    serving = {
        "task": "intent",
        "labels": labels,
        "max_length": 32,
        "pad_token_id": 0,
        "inputs": list(inputs),
        "precision": "fp32",
        "temperature": 1.0,
        "out_of_scope_threshold": 0.0,
        "agreement": {"argmax": 1.0},
    } | settings
    (directory / "onnx" / "serving.json").write_text(json.dumps(serving))
    vocabulary = {word: index for index, word in enumerate(words)}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = Lowercase()
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.save(str(directory / "tokenizer.json"))
    write_manifest(directory, "model", task="intent", labels=labels, max_length=32)
    return directory
