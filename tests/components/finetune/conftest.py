from tests.components.training.conftest import base, shards

__all__ = ["base", "shards"]
