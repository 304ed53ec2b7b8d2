"""The files of one pair by head and end: what `--fast` looks at."""

from __future__ import annotations

import os

from bcseg.verify.findings import Findings
from bcseg.verify.pair import Context, Pair, Promise, Seen, other_mask_names, promises_of
from bcseg.verify.png_file import HEAD_BYTES, check_header, check_same_size, report_unopened

_END = b"\0\0\0\0IEND\xaeB`\x82"  # the last chunk of every PNG


def check_heads(context: Context, pair: Pair) -> Seen:
    """Check that the files are there and whole as far as head and end tell."""
    found = Findings(context.dataset, pair.row["record_id"])
    seen = Seen(found.rows)
    headers = []
    promises = promises_of(pair.row)
    rows, columns = (promises[0].rows, promises[0].columns) if promises else (None, None)
    promises += [Promise(name, rows, columns, 8) for name in other_mask_names(context, pair)]
    for promise in promises:
        try:
            with (context.folder / promise.name).open("rb") as file:
                head = file.read(HEAD_BYTES)
                file.seek(max(file.seek(0, os.SEEK_END) - len(_END), 0))
                end = file.read()
        except OSError as error:
            report_unopened(found, promise.name, error)
            continue
        seen.bytes_read += len(head) + len(end)
        header = check_header(found, head, promise)
        headers.append(header)
        if header and end != _END:
            found.fail("truncated", "the file does not end as a PNG does", promise.name)
    check_same_size(found, headers[:2], pair.row["mask"])
    return seen
