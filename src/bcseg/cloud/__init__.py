"""Object storage (s3://, gs://, az://, ...) through fsspec: addresses that answer as paths do."""

from __future__ import annotations

from bcseg.cloud.filesystem import StorageError
from bcseg.cloud.path import CloudPath, is_cloud, place

__all__ = ["CloudPath", "StorageError", "is_cloud", "place"]
