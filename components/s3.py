"""The S3 half of locations: list, download and upload through boto3, with one-line errors.

Keys come from `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY` (or whatever else boto3 finds), the
address of a server that is not Amazon's from `S3_ENDPOINT_URL` or `AWS_ENDPOINT_URL_S3`.
"""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from components.storage import StorageError
from serving.manifest import MANIFEST_NAME

if TYPE_CHECKING:
    from botocore.exceptions import ClientError

CONNECT_TIMEOUT_S = 5
READ_TIMEOUT_S = 60
ATTEMPTS = 4
DELETE_BATCH = 1000

CLIENT_ENVIRONMENT = (
    "S3_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_S3",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_PROFILE",
)

REASONS = {
    "NoSuchBucket": "there is no such bucket",
    "NoSuchKey": "no such object",
    "404": "no such object",
    "InvalidAccessKeyId": "the access key is not known to the server",
    "SignatureDoesNotMatch": "the server refused these keys",
    "AccessDenied": "access denied",
    "403": "access denied",
}
KEYS_FIX = "check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_ENDPOINT_URL_S3"


@dataclass(frozen=True)
class RemoteObject:
    """One object under a location.

    Attributes:
        bucket: Its bucket.
        key: Its whole key.
        name: Its path below the location; empty where the location is the object itself.
        etag: The server's digest of it.
        size: Bytes.
    """

    bucket: str
    key: str
    name: str
    etag: str
    size: int


def split_address(location: str) -> tuple[str, str]:
    """Splits `s3://bucket/key` into bucket and key, without slashes at the key's ends.

    Raises:
        StorageError: Bucket or key is missing.
    """
    bucket, _, key = location.removeprefix("s3://").partition("/")
    key = key.strip("/")
    if not bucket or not key:
        raise StorageError(
            "an S3 address needs bucket and key", where=location, fix="s3://bucket/key"
        )
    return bucket, key


def base_name(location: str) -> str:
    """Returns the last part of an address: the file's or folder's name."""
    return PurePosixPath(split_address(location)[1]).name


def list_objects(location: str) -> list[RemoteObject]:
    """Lists the object at a location or, where there is none, all objects below it, by name.

    Raises:
        StorageError: There is nothing, or the server cannot be reached or refuses.
    """
    found = find_objects(location)
    if not found:
        raise StorageError("nothing stands at this address", where=location)
    return found


def find_objects(location: str) -> list[RemoteObject]:
    """Lists like `list_objects`; nothing there is an empty list.

    Raises:
        StorageError: The server cannot be reached or refuses.
    """
    bucket, key = split_address(location)
    found: list[RemoteObject] = []
    with _named(location):
        pages = _client().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=key)
        for page in pages:
            for row in page.get("Contents", []):
                if row["Key"] != key and not row["Key"].startswith(f"{key}/"):
                    continue
                name = row["Key"][len(key) :].strip("/")
                etag = str(row.get("ETag", "")).strip('"')
                found.append(RemoteObject(bucket, row["Key"], name, etag, int(row["Size"])))
    exact = [each for each in found if each.key == key]
    below = [each for each in found if each.name and not each.key.endswith("/")]
    for each in below:
        if ".." in PurePosixPath(each.name).parts:
            raise StorageError(
                "an object's name leaves its folder", where=f"s3://{bucket}/{each.key}"
            )
    return exact or sorted(below, key=lambda each: each.name)


def download_object(remote: RemoteObject, target: Path) -> None:
    """Writes one object to a local path, making the folders above it.

    Raises:
        StorageError: The server cannot be reached or refuses.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with _named(f"s3://{remote.bucket}/{remote.key}"):
        _client().download_file(remote.bucket, remote.key, str(target))


def upload_file(source: Path, location: str) -> None:
    """Writes one local file to an address.

    Raises:
        StorageError: The file is missing, or the server cannot be reached or refuses.
    """
    bucket, key = split_address(location)
    if not source.exists():
        raise StorageError("nothing was written", where=location)
    with _named(location):
        _client().upload_file(str(source), bucket, key)


def upload_dir(source: Path, location: str) -> None:
    """Writes a directory below an address, its manifest last, and deletes what was there besides.

    Raises:
        StorageError: There is nothing to write, or the server cannot be reached or refuses.
    """
    bucket, key = split_address(location)
    paths = [path for path in source.rglob("*") if path.is_file()]
    if not paths:
        raise StorageError("nothing was written", where=location)
    paths.sort(key=lambda path: (path.name == MANIFEST_NAME, path.relative_to(source).as_posix()))
    names = [path.relative_to(source).as_posix() for path in paths]
    for path, name in zip(paths, names, strict=True):
        upload_file(path, f"s3://{bucket}/{key}/{name}")
    delete([each for each in list_objects(f"s3://{bucket}/{key}/") if each.name not in names])


def delete(objects: Sequence[RemoteObject]) -> None:
    """Deletes objects of one bucket.

    Raises:
        StorageError: The server cannot be reached or refuses.
    """
    for start in range(0, len(objects), DELETE_BATCH):
        batch = objects[start : start + DELETE_BATCH]
        keys = [{"Key": each.key} for each in batch]
        with _named(f"s3://{batch[0].bucket}/{batch[0].key}"):
            _client().delete_objects(
                Bucket=batch[0].bucket, Delete={"Objects": keys, "Quiet": True}
            )


def _client() -> Any:
    """Returns the client for the environment as it is now."""
    return _make_client(tuple(os.environ.get(name, "") for name in CLIENT_ENVIRONMENT))


@functools.lru_cache(maxsize=4)
def _make_client(environment: tuple[str, ...]) -> Any:
    """Makes a client in a session of its own: boto3's default one never reads new keys."""
    import boto3
    from botocore.config import Config

    values = dict(zip(CLIENT_ENVIRONMENT, environment, strict=True))
    endpoint = values["S3_ENDPOINT_URL"] or values["AWS_ENDPOINT_URL_S3"] or None
    with _named(endpoint or "S3"):
        return boto3.Session().client(
            "s3",
            endpoint_url=endpoint,
            region_name=values["AWS_REGION"] or values["AWS_DEFAULT_REGION"] or "us-east-1",
            config=Config(
                connect_timeout=CONNECT_TIMEOUT_S,
                read_timeout=READ_TIMEOUT_S,
                retries={"max_attempts": ATTEMPTS, "mode": "standard"},
                # servers other than Amazon's: buckets by path, no checksum trailers
                s3={"addressing_style": "path" if endpoint else "auto"},
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
            ),
        )


@contextlib.contextmanager
def _named(where: str) -> Iterator[None]:
    """Turns boto3's errors into one line that says which address they concern."""
    from boto3.exceptions import Boto3Error
    from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

    try:
        yield
    except ClientError as error:
        raise _refused(error, where) from error
    except Boto3Error as error:
        # upload_file wraps the server's answer in an error of its own
        if isinstance(error.__context__, ClientError):
            raise _refused(error.__context__, where) from error
        raise StorageError(str(error), where=where) from error
    except NoCredentialsError as error:
        raise StorageError("no S3 credentials", where=where, fix=KEYS_FIX) from error
    except (BotoCoreError, ValueError) as error:
        raise StorageError(f"cannot be reached: {error}", where=where, fix=KEYS_FIX) from error


def _refused(error: ClientError, where: str) -> StorageError:
    code = str(error.response.get("Error", {}).get("Code", ""))
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    reason = REASONS.get(code, f"the server answered {code or status}")
    return StorageError(reason, where=where, fix=KEYS_FIX if status in (400, 401, 403) else "")
