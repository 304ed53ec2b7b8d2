"""Draw docs/contact-sheet.png, the picture of the README: synthetic pairs as `bcseg demo` shows.

    python bench/readme_picture.py docs/contact-sheet.png

No image of any archive is in it.
"""

from __future__ import annotations

import io
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from bcseg import contact, pairs, synth
from bcseg.conversion import Run, refactor
from bcseg.settings import Settings
from bcseg.store import write_atomic

DATASETS = ("inbreast", "cbis", "cdd", "bcdr")
TILE = 208  # pixels: small, so that lines stay as thick as on the page
COLOURS = 192  # enough for greys and the contour


def main(words: Sequence[str]) -> int:
    """Draw the picture and say how large it is."""
    (to,) = map(Path, words)
    contact._TILE = TILE
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch, "bcseg-data")
        for name in DATASETS:
            synth.build(name, Path(scratch, name), images=6, scale=0.5)
            refactor(name, Path(scratch, name), root, Settings(), Run(jobs=1))
        folders = {folder.name: folder for folder in pairs.open_root(root)}
        shown = [(folders[name], folders[name].rows("records.csv")[0]) for name in DATASETS]
        picture = contact.contact_sheet(shown, columns=2)
    packed = io.BytesIO()
    picture.quantize(COLOURS).save(packed, "PNG", optimize=True)
    write_atomic(to, packed.getvalue())
    sys.stdout.write(f"{to}: {len(packed.getvalue()) / 1000:.0f} kB\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
