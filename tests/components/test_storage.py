"""Locations: what stands there is whole, and a failed write leaves the earlier result."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.s3 import split_address
from components.storage import (
    DiskFullError,
    StorageError,
    localise,
    output_dir,
    output_file,
    remove,
)
from kg_schema.errors import InputError
from serving.manifest import ManifestError, verify_manifest, write_manifest
from tests.s3_server import S3Server


@pytest.fixture
def s3(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> str:
    """Address of an unused folder on the S3 server, with its keys in the environment."""
    for name, value in s3_server.env.items():
        monkeypatch.setenv(name, value)
    return f"s3://{s3_server.bucket}/{uuid.uuid4().hex[:8]}"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 256 KiB."""
    mount = tmp_path / "small"
    mount.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(mount)]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"cannot mount a small file system here: {error}")
    yield mount
    subprocess.run(["umount", str(mount)], check=True)


def _write_result(folder: Path, content: str) -> None:
    (folder / "sub").mkdir()
    (folder / "sub" / "data.txt").write_text(content)
    write_manifest(folder, "evaluation")


def _entries(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("prefix", ["", "file://"])
def test_localise_finds_plain_and_file_addresses(tmp_path: Path, prefix: str) -> None:
    (tmp_path / "a b.txt").write_text("x")
    location = (tmp_path / "a b.txt").as_uri() if prefix else str(tmp_path / "a b.txt")
    assert localise(location).read_text() == "x"


@pytest.mark.parametrize(
    "location",
    [
        "",
        "/no/such/place",
        "gs://bucket/key",
        "samples:nothing",
        "file://elsewhere/x",
        "s3://bucket",
    ],
)
def test_localise_refuses_in_one_line(location: str) -> None:
    with pytest.raises(InputError) as caught:
        localise(location)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2


@settings(deadline=None)
@given(st.text())
def test_any_location_is_found_or_refused(location: str) -> None:
    if location.startswith("s3://"):
        return
    with contextlib.suppress(InputError):
        assert localise(location).exists()


def test_output_dir_publishes_a_whole_directory_and_replaces_the_old(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "result"
    for content in ("one", "two"):
        with output_dir(str(target)) as folder:
            _write_result(folder, content)
        assert (target / "sub" / "data.txt").read_text() == content
        verify_manifest(target, "evaluation")
    assert _entries(target.parent) == ["result"]


def test_output_dir_fills_an_empty_directory_that_stands_there(tmp_path: Path) -> None:
    (tmp_path / "result").mkdir()
    with output_dir(str(tmp_path / "result")) as folder:
        _write_result(folder, "one")
    assert (tmp_path / "result" / "sub" / "data.txt").exists()


def test_failed_block_leaves_the_earlier_result_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "result"
    with output_dir(str(target)) as folder:
        _write_result(folder, "one")
    with pytest.raises(ZeroDivisionError), output_dir(str(target)) as folder:
        _write_result(folder, "two")
        _ = 1 / 0
    assert (target / "sub" / "data.txt").read_text() == "one"
    assert _entries(tmp_path) == ["result"]


def test_output_file_is_whole_or_absent(tmp_path: Path) -> None:
    target = tmp_path / "report.html"
    with pytest.raises(ZeroDivisionError), output_file(str(target)) as path:
        path.write_text("half")
        _ = 1 / 0
    assert not target.exists()
    with output_file(str(target)) as path:
        path.write_text("whole")
    assert target.read_text() == "whole"
    assert _entries(tmp_path) == ["report.html"]


def test_output_file_with_nothing_written_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="nothing was written"), output_file(str(tmp_path / "x")):
        pass


def test_what_a_killed_process_left_is_swept(tmp_path: Path) -> None:
    script = (
        "import os, signal, sys\n"
        "from components.storage import output_dir\n"
        "with output_dir(sys.argv[1]) as folder:\n"
        "    (folder / 'x').write_text('x')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    target = tmp_path / "result"
    subprocess.run([sys.executable, "-c", script, str(target)], check=False)
    assert len(_entries(tmp_path)) == 1 and not target.exists()
    with output_dir(str(target)) as folder:
        _write_result(folder, "one")
    assert _entries(tmp_path) == ["result"]


def test_directory_and_file_do_not_replace_each_other(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "dir").mkdir()
    with pytest.raises(StorageError), output_dir(str(tmp_path / "file")):
        pass
    with pytest.raises(StorageError), output_file(str(tmp_path / "dir")):
        pass
    with pytest.raises(StorageError), output_dir(str(tmp_path / "file" / "below")):
        pass


def test_full_disk_is_one_line_and_keeps_the_earlier_result(small_disk: Path) -> None:
    target = small_disk / "result"
    with output_dir(str(target)) as folder:
        _write_result(folder, "one")
    with pytest.raises(DiskFullError) as caught, output_dir(str(target)) as folder:
        (folder / "big").write_bytes(b"x" * (1 << 20))
    assert caught.value.exit_code == 2
    assert (target / "sub" / "data.txt").read_text() == "one"
    assert _entries(small_disk) == ["result"]


def test_full_disk_is_known_behind_a_library_s_own_error(tmp_path: Path) -> None:
    with pytest.raises(DiskFullError), output_dir(str(tmp_path / "result")) as folder:
        (folder / "full").symlink_to("/dev/full")
        try:
            (folder / "full").write_bytes(b"x" * 100_000)
        except OSError as error:
            raise RuntimeError("writer failed") from error
    with pytest.raises(DiskFullError), output_dir(str(tmp_path / "result")):
        raise RuntimeError("I/O error: No space left on device (os error 28)")


@pytest.mark.parametrize("location", ["s3://", "s3://bucket", "s3://bucket/", "s3:///key"])
def test_address_needs_bucket_and_key(location: str) -> None:
    with pytest.raises(StorageError):
        split_address(location)


def test_kubeflows_own_name_of_the_store_is_the_same_place_and_can_be_cleared(s3: str) -> None:
    minio = s3.replace("s3://", "minio://")
    with output_file(f"{minio}/a/one") as path:
        path.write_text("1")
    with output_file(f"{s3}/ab") as path:
        path.write_text("2")
    assert localise(f"{s3}/a/one").read_text() == "1"
    assert localise(f"{minio}/a/one").read_text() == "1"
    remove(f"{minio}/a")
    remove(f"{minio}/a")
    with pytest.raises(StorageError, match="nothing stands"):
        localise(f"{minio}/a/one")
    assert localise(f"{minio}/ab").read_text() == "2"


def test_s3_directory_goes_there_and_back(s3: str, s3_server: S3Server, tmp_path: Path) -> None:
    for content in ("one", "two two"):
        with output_dir(s3) as folder:
            _write_result(folder, content)
            (folder / content).write_text("named by its content")
        local = localise(s3, cache=tmp_path)
        assert (local / "sub" / "data.txt").read_text() == content
        assert _entries(local) == sorted([content, "manifest.json", "sub"])
    assert localise(s3, cache=tmp_path) == local, "the same listing is not fetched again"


def test_s3_single_object(s3: str) -> None:
    with output_file(f"{s3}/report.html") as path:
        path.write_text("<p>")
    assert localise(f"{s3}/report.html").read_text() == "<p>"
    with pytest.raises(StorageError, match="nothing stands"):
        localise(f"{s3}/rep")


def test_s3_failed_block_uploads_nothing(s3: str) -> None:
    with pytest.raises(ZeroDivisionError), output_dir(s3) as folder:
        _write_result(folder, "one")
        _ = 1 / 0
    with pytest.raises(StorageError, match="nothing stands"):
        localise(s3)


def test_s3_half_written_directory_is_not_taken_for_whole(s3: str, s3_server: S3Server) -> None:
    with output_dir(s3) as folder:
        _write_result(folder, "one")
    key = s3.split("/", 3)[3]
    s3_server.client().put_object(Bucket=s3_server.bucket, Key=f"{key}/sub/data.txt", Body=b"two")
    with pytest.raises(ManifestError):
        localise(s3)


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("AWS_SECRET_ACCESS_KEY", "wrong", "refused these keys"),
        ("AWS_ACCESS_KEY_ID", "test:nobody", "refused these keys"),
        ("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9", "cannot be reached"),
    ],
)
def test_s3_refusal_is_one_clear_line(
    s3: str, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, said: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(StorageError) as reading:
        localise(s3)
    with pytest.raises(StorageError) as writing, output_dir(s3) as folder:
        _write_result(folder, "one")
    for caught in (reading, writing):
        assert said in str(caught.value)
        assert "\n" not in str(caught.value)
        assert "AWS_SECRET_ACCESS_KEY" in str(caught.value)
        assert "tester" not in str(caught.value) and "nobody" not in str(caught.value)


def test_s3_missing_bucket_is_said(s3: str) -> None:
    with pytest.raises(StorageError, match="no such bucket"):
        localise("s3://no-such-bucket-here/x")
