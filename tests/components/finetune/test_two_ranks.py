"""Two ranks learn one and the same model: killed here and gone on, or a TrainJob of two nodes."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import torch

from components import s3
from components.cluster import TRAIN_JOB
from components.finetune import FinetuneResult, FinetuneSettings, finetune_model
from components.launch import LaunchError
from components.model_dir import read_model_manifest
from components.storage import output_dir
from components.training.checkpoint import is_whole
from tests.components.training.kubelet import Kubelet
from tests.components.training.tiny import weights
from tests.kube_server import NAMESPACE, KubeServer
from tests.s3_server import S3Server

pytestmark = pytest.mark.timeout(600)  # starting ranks takes a busy machine minutes

STEPS = 5  # an epoch
SETTINGS = FinetuneSettings(
    epochs=10,
    batch_size=8,
    learning_rate=5e-3,
    head_learning_rate=5e-3,
    max_length=32,
    threads=1,
    precision="fp32",
)


def ranks_of_this_process() -> list[int]:
    ranks = []
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            command = child.cmdline()
            if "components.training.worker" in command and "torch.distributed.run" not in command:
                ranks.append(child.pid)
    return ranks


def kill_a_rank_after_a_checkpoint(checkpoints: Path) -> None:
    end = time.monotonic() + 200
    while time.monotonic() < end:
        if sum(is_whole(path) for path in checkpoints.glob("training-*/checkpoint-*")) >= 2:
            os.kill(ranks_of_this_process()[-1], signal.SIGKILL)
            return
        time.sleep(0.02)


@pytest.fixture(scope="module")
def resumed(base: Path, shards: Path, tmp_path_factory: pytest.TempPathFactory) -> FinetuneResult:
    """A training by two ranks here, one of which was killed, and that was started again."""
    folder = tmp_path_factory.mktemp("here")
    out, checkpoints = folder / "teacher", folder / "checkpoints"
    given = (str(shards), str(base), str(out), SETTINGS, str(checkpoints))
    killer = threading.Thread(target=kill_a_rank_after_a_checkpoint, args=(checkpoints,))
    killer.start()
    with pytest.raises(LaunchError, match="signal 9"):
        finetune_model(*given)
    killer.join()
    assert not out.exists()
    result = finetune_model(*given)
    assert not checkpoints.exists()
    return result


def test_a_killed_training_goes_on(resumed: FinetuneResult) -> None:
    assert resumed.training.resumed_from >= 2 * STEPS
    assert resumed.training.steps == SETTINGS.epochs * STEPS
    assert resumed.training.ranks == 2
    assert resumed.training.validation["accuracy"] >= 0.75
    assert read_model_manifest(Path(resumed.out))["base_sha256"] == resumed.base_sha256


@pytest.fixture
def kubelet(kube: KubeServer, s3_server: S3Server) -> Iterator[Kubelet]:
    kubelet = Kubelet(kube, s3_server)
    yield kubelet
    kubelet.stop()


def test_two_nodes_train_what_two_ranks_here_do(
    resumed: FinetuneResult,
    base: Path,
    shards: Path,
    staging: str,
    kube: KubeServer,
    kubelet: Kubelet,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("components.cluster._configured", kube.client)
    with output_dir(f"{staging}/shards") as out:
        shutil.copytree(shards, out, dirs_exist_ok=True)
    nodes = replace(SETTINGS, ranks=1, nodes=2, trainer=f"trainjob://{NAMESPACE}/deskgraph-torch")
    private = f"{staging}/model.staging"
    result = finetune_model(f"{staging}/shards", str(base), str(tmp_path / "there"), nodes, private)
    assert (result.training.steps, result.training.ranks) == (resumed.training.steps, 2)
    assert result.training.out == str(tmp_path / "there")
    here, there = weights(Path(resumed.out)), weights(tmp_path / "there")
    assert here.keys() == there.keys()
    assert all(torch.equal(here[name], there[name]) for name in here)
    assert len(kubelet.jobs) == 1
    assert kube.names(TRAIN_JOB) == []
    assert s3.find_objects(private) == []
