"""Plays Trainer's controller and the kubelet: a TrainJob's own command, a process for each node."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from typing import Any

from components.cluster import TRAIN_JOB
from components.launch import LOOPBACK
from components.training.train_job import INDEX_LABEL, JOB_LABEL
from tests.kube_server import KubeServer
from tests.s3_server import S3Server

Object = dict[str, Any]


def put_node(
    kube: KubeServer, job: str, index: int, state: Object, phase: str = "Running", log: str = ""
) -> str:
    """Puts a node's pod; returns its name."""
    name = f"{job}-node-0-{index}-x"
    status = {
        "name": "node",
        "image": "deskgraph/train",
        "imageID": "sha256:0",
        "ready": "running" in state,
        "restartCount": 0,
        "state": state,
    }
    kube.put_pod(
        name, {JOB_LABEL: job, INDEX_LABEL: str(index)}, phase, {"containerStatuses": [status]}
    )
    if log:
        kube.logs[name] = log
    return name


def say(kube: KubeServer, job: str, condition: str, message: str = "") -> None:
    """Puts a condition on a TrainJob, if it is still there."""
    if kube.get(TRAIN_JOB, job) is not None:
        found = {"type": condition, "status": "True", "reason": condition, "message": message}
        kube.set_status(TRAIN_JOB, job, {"conditions": [found]})


class Kubelet:
    """Runs each TrainJob that is created in `kube`, with what a runtime gives its pods.

    Attributes:
        jobs: The TrainJobs, as they were created.
        processes: Of the newest job's nodes, by index.
    """

    def __init__(self, kube: KubeServer, s3_server: S3Server) -> None:
        self.jobs: list[Object] = []
        self.processes: list[subprocess.Popen[str]] = []
        self._nodes: list[threading.Thread] = []
        self._kube = kube
        self._of_the_runtime = s3_server.env
        kube.on_write = self._on_write

    def stop(self) -> None:
        """Ends every process, and returns when nothing more is said of it."""
        for process in self.processes:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for thread in self._nodes:
            thread.join()

    def _on_write(self, verb: str, body: Object) -> None:
        if verb == "delete":
            self.stop()
            self._kube.drop_pods(body["metadata"]["name"])
        else:
            self.jobs.append(body)
            self._start(body)

    def _start(self, job: Object) -> None:
        trainer, name = job["spec"]["trainer"], job["metadata"]["name"]
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            port = listener.getsockname()[1]
        not_theirs = ("AWS_", "OMP_")
        own = {key: value for key, value in os.environ.items() if not key.startswith(not_theirs)}
        own |= self._of_the_runtime
        torch = {
            "PET_NNODES": str(trainer["numNodes"]),
            "PET_NPROC_PER_NODE": str(trainer["numProcPerNode"]),
            "PET_MASTER_ADDR": "127.0.0.1",
            "PET_MASTER_PORT": str(port),
            "GLOO_SOCKET_IFNAME": LOOPBACK,  # in pods the host's name is the pod's address
        }
        assert trainer["command"][0] == "python"
        self._nodes = []
        self.processes = [
            subprocess.Popen(
                [sys.executable, *trainer["command"][1:]],
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                env={**own, **torch, "PET_NODE_RANK": str(index)},
            )
            for index in range(trainer["numNodes"])
        ]
        for index, process in enumerate(self.processes):
            pod = put_node(self._kube, name, index, {"running": {}})
            self._kube.logs[pod] = ""
            node = threading.Thread(target=self._node, args=(name, index, pod, process))
            node.start()
            self._nodes.append(node)

    def _node(self, job: str, index: int, pod: str, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            self._kube.logs[pod] += line
        code = process.wait()
        ended = {"terminated": {"exitCode": code, "reason": "Error" if code else "Completed"}}
        put_node(self._kube, job, index, ended, "Failed" if code else "Succeeded")
        if code:
            say(self._kube, job, "Failed", "jobset failed due to one or more job failures")
        elif all(other.poll() == 0 for other in self.processes):
            say(self._kube, job, "Complete")
