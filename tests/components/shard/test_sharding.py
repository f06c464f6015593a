"""The shard stage: what goes in is split once, without repeats, into the same bytes each time."""

from __future__ import annotations

import filecmp
import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.shard.sharding import ShardSettings, shard_tickets
from components.shard.splits import partition_tickets
from components.shards import SPLITS, read_manifest, read_split
from components.storage import StorageError, localise
from components.tickets import Ticket, normalise_text
from kg_schema.errors import InputError
from serving.manifest import ManifestError
from tests.s3_server import S3Server

LABELS = ("battery", "price", "return")
WORDS = ("my phone", "the tablet", "a watch", "this dock", "that cable")

WriteTickets = Callable[..., str]


def _row(number: int, **more: Any) -> dict[str, Any]:
    text = f"{WORDS[number % 5]} question number {number}"
    return {"ticket_id": f"T{number}", "text": text, "intent": LABELS[number % 3], **more}


@pytest.fixture
def write_tickets(tmp_path: Path) -> WriteTickets:
    """Writes rows as JSON Lines and returns the file's path."""

    def write(rows: list[dict[str, Any]], name: str = "tickets.jsonl") -> str:
        (tmp_path / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
        return str(tmp_path / name)

    return write


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 64 KiB."""
    mount = tmp_path / "small"
    mount.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(mount)]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"cannot mount a small file system here: {error}")
    yield mount
    subprocess.run(["umount", "--lazy", str(mount)], check=True)


def test_splits_shards_and_manifest(write_tickets: WriteTickets, tmp_path: Path) -> None:
    out = tmp_path / "shards"
    result = shard_tickets(
        write_tickets([_row(n) for n in range(600)]), str(out), ShardSettings(rows_per_shard=100)
    )
    manifest = read_manifest(out)
    assert result.labels == LABELS
    assert sum(result.rows.values()) == 600
    assert 380 < result.rows["train"] < 460
    assert [each["rows"] for each in manifest["shards"] if each["split"] == "train"]
    for split in SPLITS:
        table = read_split(out, split)
        assert table.num_rows == result.rows[split] == manifest["rows"][split]
        for row in table.to_pylist():
            assert manifest["labels"][row["label"]] == row["intent"]
    for each in manifest["shards"]:
        assert each["rows"] <= 100
        assert pq.ParquetFile(out / each["path"]).metadata.num_rows == each["rows"]
    assert manifest["source"][0]["uri"].endswith("tickets.jsonl")


def test_same_input_and_seed_give_the_same_bytes(
    write_tickets: WriteTickets, tmp_path: Path
) -> None:
    tickets = write_tickets([_row(n) for n in range(300)])
    results = [shard_tickets(tickets, str(tmp_path / name)) for name in ("one", "two")]
    names = [path.name for path in (tmp_path / "one").iterdir()]
    match, mismatch, errors = filecmp.cmpfiles(
        tmp_path / "one", tmp_path / "two", names, shallow=False
    )
    assert (sorted(match), mismatch, errors) == (sorted(names), [], [])
    other = shard_tickets(tickets, str(tmp_path / "three"), ShardSettings(seed=1))
    assert results[0].sha256 == results[1].sha256 != other.sha256
    assert results[0].dataset_id == other.dataset_id


def test_duplicates_conflicts_and_bad_rows_are_counted_and_listed(
    write_tickets: WriteTickets, tmp_path: Path
) -> None:
    rows = [_row(n) for n in range(300)]
    rows[250] = {**_row(0), "text": f"  {_row(0)['text'].upper()}!! "}
    rows[251] = {**_row(0), "intent": "price"}
    rows[252] = {"ticket_id": "T252", "text": 7, "intent": "price"}
    out = tmp_path / "shards"
    result = shard_tickets(write_tickets(rows), str(out))
    assert (result.duplicates_removed, result.conflicts, result.quarantined) == (1, 1, 1)
    listed = [json.loads(line) for line in (out / "quarantine.jsonl").read_text().splitlines()]
    assert [(row["line"], row["reason"]) for row in listed] == [
        (251, "duplicate"),
        (252, "conflict"),
        (253, "unreadable"),
    ]
    assert "tickets.jsonl:1" in listed[0]["detail"]
    kept = [row for split in SPLITS for row in read_split(out, split).to_pylist()]
    assert [row["intent"] for row in kept if row["ticket_id"] == "T0"] == ["battery"]


def test_unlabelled_tickets_are_kept_for_training_alone(
    write_tickets: WriteTickets, tmp_path: Path
) -> None:
    rows = [_row(n) for n in range(300)] + [_row(n, intent=None) for n in range(290, 400)]
    result = shard_tickets(write_tickets(rows), str(tmp_path / "shards"))
    assert result.duplicates_removed == 10
    labels = {
        split: read_split(tmp_path / "shards", split)["label"].to_pylist() for split in SPLITS
    }
    assert labels["train"].count(-1) == 100
    assert -1 not in labels["validation"] + labels["test"]


def test_a_file_of_unlabelled_tickets_goes_to_train_less_what_is_known(
    write_tickets: WriteTickets, tmp_path: Path
) -> None:
    tickets = write_tickets([_row(n) for n in range(300)])
    test = write_tickets([_row(n) for n in range(600, 610)], "test.jsonl")
    more = [_row(n) for n in (*range(290, 400), 399, *range(605, 615))]
    more += [{"ticket_id": "bad", "text": 7}, {"ticket_id": "short", "text": "?"}]
    plain, out = tmp_path / "plain", tmp_path / "shards"
    shard_tickets(tickets, str(plain), test_tickets=test)
    chosen = ShardSettings(unlabelled=write_tickets(more, "more.jsonl"))
    result = shard_tickets(tickets, str(out), chosen, test)
    assert result.unlabelled == 105
    assert (result.duplicates_removed, result.removed_for_test) == (11, 5)
    assert result.quarantined == 2
    for split in ("validation", "test"):
        assert read_split(out, split).equals(read_split(plain, split))
    train = read_split(out, "train").to_pylist()
    added = [row for row in train if row["label"] == -1]
    assert all(row["intent"] is None for row in added)
    assert len(added) == result.rows["train"] - read_split(plain, "train").num_rows == 105
    manifest = read_manifest(out)
    assert manifest["unlabelled"] == 105
    assert [each["uri"].rsplit("/")[-1] for each in manifest["source"]][-1] == "more.jsonl"
    listed = [json.loads(line) for line in (out / "quarantine.jsonl").read_text().splitlines()]
    assert {row["file"] for row in listed} == {"more.jsonl"}
    with pytest.raises(InputError, match="leave unlabelled empty"):
        ShardSettings(task="answer", unlabelled="more.jsonl")


def test_test_file_is_the_test_split_and_leaves_the_others(
    write_tickets: WriteTickets, tmp_path: Path
) -> None:
    test_rows = [_row(n) for n in (0, 1, 2, 2)]
    out = tmp_path / "shards"
    result = shard_tickets(
        write_tickets([_row(n) for n in range(300)]),
        str(out),
        test_tickets=write_tickets(test_rows, "test.jsonl"),
    )
    assert result.rows["test"] == 4, "a test file stands as it is"
    assert result.removed_for_test == 3
    assert 10 < result.rows["validation"] < 60
    others = read_split(out, "train").to_pylist() + read_split(out, "validation").to_pylist()
    assert not {row["text"] for row in test_rows} & {row["text"] for row in others}


def test_empty_class_is_refused_and_the_earlier_result_stays(
    write_tickets: WriteTickets, tmp_path: Path
) -> None:
    out = tmp_path / "shards"
    tickets = write_tickets([_row(n) for n in range(300)])
    first = shard_tickets(tickets, str(out))
    test = write_tickets([_row(0), {**_row(900), "intent": "unseen"}], "test.jsonl")
    with pytest.raises(InputError, match="empty class: no training rows for 'unseen'"):
        shard_tickets(tickets, str(out), test_tickets=test)
    with pytest.raises(InputError, match="only 'price'"):
        shard_tickets(write_tickets([_row(n, intent="price") for n in range(50)]), str(out))
    with pytest.raises(InputError, match="no label at all"):
        shard_tickets(write_tickets([_row(n, intent="") for n in range(50)]), str(out))
    assert read_manifest(out)["rows"] == first.rows


@pytest.mark.parametrize(
    ("settings", "content", "said"),
    [
        ({"text_column": "body"}, b"text,intent\nx y,a\n", "no column 'body'"),
        ({"label_column": "topic"}, b"text,intent\nx y,a\n", "the columns are text, intent"),
        ({}, b"text,intent\ncaf\xe9,a\n", "not UTF-8"),
        ({}, b"", "holds no tickets"),
    ],
)
def test_bad_input_is_one_line(
    tmp_path: Path, settings: dict[str, str], content: bytes, said: str
) -> None:
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(InputError) as caught:
        shard_tickets(str(tmp_path / "t.csv"), str(tmp_path / "out"), ShardSettings(**settings))
    assert said in str(caught.value) and "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        shard_tickets(str(tmp_path / "none.csv"), str(tmp_path / "out"))


def test_full_disk_keeps_the_earlier_result(write_tickets: WriteTickets, small_disk: Path) -> None:
    out = small_disk / "shards"
    first = shard_tickets(write_tickets([_row(n) for n in range(120)]), str(out))
    with pytest.raises(InputError, match="disk is full") as caught:
        shard_tickets(write_tickets([_row(n) for n in range(20_000)]), str(out))
    assert caught.value.exit_code == 2
    assert read_manifest(out)["rows"] == first.rows
    assert [path.name for path in small_disk.iterdir()] == ["shards"]


def test_settings_out_of_range_are_refused() -> None:
    for wrong in ({"validation_fraction": 0.0}, {"test_fraction": 0.9}, {"rows_per_shard": 0}):
        with pytest.raises(InputError):
            ShardSettings(**wrong)


def test_changed_shard_is_not_read(write_tickets: WriteTickets, tmp_path: Path) -> None:
    out = tmp_path / "shards"
    shard_tickets(write_tickets([_row(n) for n in range(300)]), str(out))
    with pytest.raises(InputError, match="no split"):
        read_split(out, "dev")
    path = out / "train-00000-of-00001.parquet"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ManifestError):
        read_split(out, "train")


def test_answer_task_keeps_answered_tickets_and_asks_no_label(
    write_tickets: WriteTickets, tmp_path: Path
) -> None:
    rows = [
        {"text": f"question {n}", "resolution": {"answer": f"answer {n}" if n % 2 else None}}
        for n in range(100)
    ]
    out = tmp_path / "shards"
    result = shard_tickets(write_tickets(rows), str(out), ShardSettings(task="answer"))
    assert sum(result.rows.values()) == result.quarantined == 50
    assert result.labels == ()
    assert None not in read_split(out, "train")["answer"].to_pylist()


def test_from_s3_to_s3(
    write_tickets: WriteTickets, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in s3_server.env.items():
        monkeypatch.setenv(name, value)
    base = f"s3://{s3_server.bucket}/company"
    source = Path(write_tickets([_row(n) for n in range(300)]))
    s3_server.client().upload_file(str(source), s3_server.bucket, "company/tickets/a.jsonl")
    result = shard_tickets(f"{base}/tickets", f"{base}/shards")
    keys = [
        row["Key"]
        for row in s3_server.client().list_objects_v2(
            Bucket=s3_server.bucket, Prefix="company/shards"
        )["Contents"]
    ]
    assert "company/shards/manifest.json" in keys
    local = localise(f"{base}/shards")
    assert read_manifest(local)["source"][0]["uri"] == f"{base}/tickets/a.jsonl"
    assert read_split(local, "train").num_rows == result.rows["train"]
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    with pytest.raises(StorageError, match="refused these keys"):
        shard_tickets(f"{base}/tickets", f"{base}/shards")


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.text(min_size=1, max_size=6), st.sampled_from([None, "a", "b"]))),
    st.integers(0, 3),
)
def test_no_text_is_in_two_splits(texts: list[tuple[str, str | None]], seed: int) -> None:
    tickets = [
        Ticket(str(line), text, intent, None, (), None, None, "f", line)
        for line, (text, intent) in enumerate(texts)
    ]
    partition = partition_tickets(
        tickets, tickets[:2] if seed == 3 else None, validation=0.3, test=0.3, seed=seed
    )
    keys = [{normalise_text(each.text) for each in partition.rows[split]} for split in SPLITS]
    assert keys[0].isdisjoint(keys[1] | keys[2]) and keys[1].isdisjoint(keys[2])
    assert keys[0] | keys[1] | keys[2] == {normalise_text(each.text) for each in tickets}
    kept = sum(len(rows) for rows in partition.rows.values())
    assert kept + len(partition.removed) == len(tickets) + (len(tickets[:2]) if seed == 3 else 0)
