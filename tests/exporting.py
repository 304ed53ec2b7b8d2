"""What the tests of `bcseg export` share."""

from __future__ import annotations

import shutil

from archives import FIVE, finished
from bcseg.split import Splitting, split_pairs


def root_of(tmp_path, *datasets, options=()):
    """Return a root of finished pairs folders that a test may change."""
    root = tmp_path / "root"
    for dataset in datasets:
        shutil.copytree(finished(dataset, *options), root / dataset)
    return root


def split_root(tmp_path, *datasets):
    """Return a root, of all five datasets unless named, split by patient."""
    root = root_of(tmp_path, *(datasets or FIVE))
    split_pairs(root, Splitting(one_group=True, test=0.3, val=0.2))
    return root


def export(run, format_, root, out, *options):
    """Export, and return what was printed; it must go well."""
    code, text, err = run("export", format_, root, "-o", out, *options)
    assert code == 0, text + err
    return text, err
