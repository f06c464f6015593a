import json

import pytest

from serving.manifest import ManifestError, content_sha256, verify_manifest, write_manifest


@pytest.fixture
def sealed(tmp_path):
    (tmp_path / "part").mkdir()
    (tmp_path / "a.bin").write_bytes(b"abc")
    (tmp_path / "part" / "b.bin").write_bytes(b"")
    write_manifest(tmp_path, "model", task="intent")
    return tmp_path


def test_what_was_written_verifies_and_keeps_its_extra_keys(sealed):
    manifest = verify_manifest(sealed, "model")
    assert [entry["path"] for entry in manifest["files"]] == ["a.bin", "part/b.bin"]
    assert manifest["task"] == "intent"
    assert {path.name for path in sealed.iterdir()} == {"a.bin", "part", "manifest.json"}


def test_the_digest_tells_content_and_not_order_or_extras(sealed):
    first = verify_manifest(sealed)
    again = write_manifest(sealed, "model", task="answer")
    assert content_sha256(first) == content_sha256(again)
    again["files"].reverse()
    assert content_sha256(first) == content_sha256(again)
    (sealed / "a.bin").write_bytes(b"abd")
    assert content_sha256(write_manifest(sealed, "model")) != content_sha256(first)


@pytest.mark.parametrize("change", ["same length", "longer", "gone", "no manifest", "other kind"])
def test_every_difference_is_refused(sealed, change):
    if change == "same length":
        (sealed / "a.bin").write_bytes(b"abd")
    elif change == "longer":
        (sealed / "a.bin").write_bytes(b"abcd")
    elif change == "gone":
        (sealed / "part" / "b.bin").unlink()
    elif change == "no manifest":
        (sealed / "manifest.json").unlink()
    with pytest.raises(ManifestError):
        verify_manifest(sealed, "shards" if change == "other kind" else "model")


@pytest.mark.parametrize("path", ["../outside", "/etc/hostname"])
def test_paths_that_leave_the_directory_are_refused(sealed, path):
    manifest = json.loads((sealed / "manifest.json").read_text())
    manifest["files"][0]["path"] = path
    (sealed / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ManifestError, match="outside"):
        verify_manifest(sealed)


@pytest.mark.parametrize("text", ["", "[]", '{"schema_version": 2}', '{"schema_version": 1}'])
def test_what_is_no_manifest_is_refused(sealed, text):
    (sealed / "manifest.json").write_text(text)
    with pytest.raises(ManifestError):
        verify_manifest(sealed)


def test_own_keys_cannot_be_given(tmp_path):
    with pytest.raises(ManifestError, match="files"):
        write_manifest(tmp_path, "model", files=[])
