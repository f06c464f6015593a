"""The load_graph step, and the step that stands for it where a run has no graph."""

from typing import NamedTuple

from kfp import dsl

from components.image import TRAIN_IMAGE


@dsl.component(base_image=TRAIN_IMAGE, install_kfp_package=False)
def load_graph(graph: str, graph_uri: str, report: dsl.Output[dsl.Artifact]) -> NamedTuple(
    "Outputs", [("fingerprint", str)]
):
    """Migrates the graph's schema and loads its files; a second identical load writes nothing."""
    from components.load_graph.loading import load_graph as load
    from components.stage import reported

    with reported():
        loaded = load(graph, graph_uri, report.path)
        return (loaded.fingerprint,)


@dsl.component(base_image=TRAIN_IMAGE, install_kfp_package=False)
def no_graph() -> NamedTuple("Outputs", [("fingerprint", str)]):
    """Says that this run has no graph: answers abstain, and the report says so."""
    return ("",)
