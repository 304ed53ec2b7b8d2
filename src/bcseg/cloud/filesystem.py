"""The storage behind an address, and what its library says when it refuses."""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import sys
from collections.abc import Generator
from typing import Any

from bcseg.errors import BcsegError, UsageError

# seconds until a connection counts as refused, and tries: an endpoint that does not answer is
# named within ten seconds
_CONNECT_TIMEOUT, _TRIES = 4, 2
_S3 = {
    "connect_timeout": _CONNECT_TIMEOUT,
    "read_timeout": 30,
    "max_pool_connections": 32,
    "retries": {"mode": "standard", "total_max_attempts": _TRIES},
}
# what storage libraries raise besides OSError: looked up where the library was loaded
_LIBRARY_ERRORS = (
    ("botocore.exceptions", "BotoCoreError"),
    ("botocore.exceptions", "ClientError"),
    ("aiohttp", "ClientError"),
    ("gcsfs.retry", "HttpError"),
    ("google.auth.exceptions", "GoogleAuthError"),
    ("azure.core.exceptions", "AzureError"),
)
_CREDENTIALS = (
    "AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or `aws sso login`; "
    "FSSPEC_S3_ANON=true for a public bucket (docs/cloud.md)"
)
_WORDS = (
    ("NoCredentials", "no credentials", _CREDENTIALS),
    ("PartialCredentials", "the credentials are not complete", _CREDENTIALS),
    ("CredentialRetrieval", "no credentials", _CREDENTIALS),
    ("ProfileNotFound", "no such profile", _CREDENTIALS),
    ("Token", "the login has expired", _CREDENTIALS),
    ("GoogleAuth", "no credentials", "gcloud auth application-default login (docs/cloud.md)"),
    ("ClientAuthentication", "no credentials", "AZURE_STORAGE_ACCOUNT_NAME and _KEY"),
    ("Connect", "the storage cannot be reached", "check the network and AWS_ENDPOINT_URL"),
    ("Timeout", "the storage does not answer", "check the network and AWS_ENDPOINT_URL"),
)


class StorageError(BcsegError, OSError):
    """The storage refuses or is out of reach: an OSError that says what to do about it."""

    def __init__(self, message: str, *, where: str = "", hint: str = "") -> None:
        super().__init__(message, where=where, hint=hint)
        self.errno = errno.EIO
        self.strerror = message


@functools.cache
def filesystem(protocol: str) -> Any:
    """Return the fsspec file system of a protocol, one a process; nothing is cached in it.

    Raises UsageError if the library for it is not installed.
    """
    try:
        import fsspec
    except ImportError as error:
        raise UsageError(
            f"{protocol}:// needs the extra `cloud`", hint="pip install 'bcseg[cloud]'"
        ) from error
    options: dict[str, Any] = {"use_listings_cache": False, "skip_instance_cache": True}
    if protocol in ("s3", "s3a"):
        options["config_kwargs"] = _S3 | fsspec.config.conf.get("s3", {}).get("config_kwargs", {})
    try:
        return fsspec.filesystem(protocol, **options)
    except ImportError as error:
        library = str(error) or f"the library for {protocol}://"
        raise UsageError(
            f"{protocol}:// needs a library that is not installed",
            hint="pip install 'bcseg[cloud]'" if protocol in ("s3", "s3a") else library,
        ) from error
    except ValueError as error:
        raise UsageError(
            f"no storage is called {protocol}://", hint="s3://, gs:// or az://, or a local folder"
        ) from error


@contextlib.contextmanager
def asking(address: str) -> Generator[None, None, None]:
    """Turn what a storage library raises about an address into OSErrors in plain words.

    Raises FileNotFoundError and FileExistsError as a disk does, StorageError for all else.
    """
    try:
        yield
    except StorageError:
        raise
    except FileNotFoundError as error:
        if _is_about_bucket(error, address):
            raise StorageError(
                "there is no such bucket",
                where=address,
                hint="correct the name, or AWS_ENDPOINT_URL; bcseg makes no buckets",
            ) from error
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), address) from error
    except FileExistsError as error:
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), address) from error
    except PermissionError as error:
        raise StorageError(
            f"access denied ({_text(error)})",
            where=address,
            hint=f"ask who owns the bucket, or use other credentials: {_CREDENTIALS}",
        ) from error
    except _refusals() as error:
        raise _in_words(error, address) from error


def _refusals() -> tuple[type[Exception], ...]:
    loaded = [
        (sys.modules[module], name) for module, name in _LIBRARY_ERRORS if module in sys.modules
    ]
    return (OSError, NotImplementedError, *(getattr(module, name) for module, name in loaded))


def _is_about_bucket(error: FileNotFoundError, address: str) -> bool:
    if "/" not in address.partition("://")[2]:
        return True
    text = str(error).lower()
    return "does not exist" in text and ("bucket" in text or "container" in text)


def _in_words(error: Exception, address: str) -> StorageError:
    names = [one.__name__ for one in type(error).__mro__]
    for word, message, hint in _WORDS:
        if any(word in name for name in names):
            return StorageError(f"{message} ({_text(error)})", where=address, hint=hint)
    return StorageError(f"the storage refuses ({_text(error)})", where=address)


def _text(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
