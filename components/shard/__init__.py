"""Shard: tickets of a company in, deduplicated Parquet splits with a manifest out."""

from components.shard.sharding import ShardResult, ShardSettings, shard_tickets
from components.shards import read_manifest, read_split

__all__ = ["ShardResult", "ShardSettings", "read_manifest", "read_split", "shard_tickets"]
