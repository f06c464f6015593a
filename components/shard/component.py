"""The shard step: tickets in, split and checksummed Parquet out."""

from kfp import dsl

from components.image import TRAIN_IMAGE


@dsl.component(base_image=TRAIN_IMAGE, install_kfp_package=False)
def shard(
    tickets: str,
    test_tickets: str,
    unlabelled: str,
    text_column: str,
    label_column: str,
    task: str,
    settings: dict,
    code: str,
    content: str,
    shards: dsl.Output[dsl.Dataset],
) -> None:
    """Splits, deduplicates and checks the tickets; `code` and `content` only key the cache."""
    from dataclasses import asdict

    from components.shard.sharding import ShardSettings, shard_tickets
    from components.stage import parse_settings, reported

    with reported():
        chosen = parse_settings(
            ShardSettings,
            settings,
            task=task,
            text_column=text_column,
            label_column=label_column,
            unlabelled=unlabelled,
        )
        result = shard_tickets(tickets, shards.path, chosen, test_tickets)
        shards.metadata.update(asdict(result))
