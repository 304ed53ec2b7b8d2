"""Readers of file formats: bytes in, pixels or shapes out. They know no dataset."""
