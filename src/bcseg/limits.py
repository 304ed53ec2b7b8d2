"""What is too much to be an archive of mammograms: what lies beyond is refused, by name.

The defaults leave room above the largest real files: scanned films of 40 million pixels, outlines
of 3,399 points, 10,239 files, a 2.4 MB contour file, tables of 20,000 rows.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much of a source is read. No limit changes a pixel of what is within it.

    `pixels` of an image, `points` of all contours of one image, `members`: files of a source.
    `ratio`: unpacked to packed size of a zip member or a tar of more than `SMALL` bytes.
    `file_bytes`: of one file, unpacked.
    """

    pixels: int = 100_000_000
    points: int = 100_000
    members: int = 200_000
    ratio: int = 200
    file_bytes: int = 512 << 20

    @property
    def sample_bytes(self) -> int:
        """Decoded bytes of one image: three of 8 bits for each pixel, or one of 16."""
        return 3 * self.pixels


DEFAULT = Limits()

# A blank mask reaches any ratio (deflate packs zeros 1030 to 1), so small ones are never a bomb.
SMALL = 256 << 20
TABLE_BYTES = 32 << 20  # a table; the largest real one has 2 MB
WORKBOOK_BYTES = 12 << 20  # a workbook, unpacked; its reader takes seconds for that
CONTOUR_BYTES = 32 << 20  # a contour file; the largest real one has 2.4 MB
CELL_CHARACTERS = 1 << 24  # a cell; the longest real outline has about 20,000
TABLE_CELLS = 2_000_000  # a table; each row counts as ROW_CELLS more
ROW_CELLS = 8
COLUMNS = 4_000
DEPTH = 64  # folders above a file
