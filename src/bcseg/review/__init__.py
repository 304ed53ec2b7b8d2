"""Judge pair after pair in a page on this machine; the result is a manifest for `select`."""

from __future__ import annotations
