from tests.components.training.conftest import base, shards, staging

__all__ = ["base", "shards", "staging"]
