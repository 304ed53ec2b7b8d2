"""A Hugging Face dataset: imagefolder with metadata, or Parquet with the files in it.

The metadata are JSON lines, not CSV: `datasets` reads CSV with pandas, which makes numbers of ids
("0012" becomes 12), and refuses parts in which a column is empty in one and not in the other.

Masks are class numbers 0, 1, ...: trainers take 255 for "ignore", and would learn no lesion at all.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bcseg import png
from bcseg.export.base import (
    BACKGROUND,
    TEST,
    TRAIN,
    VAL,
    Job,
    class_map,
    facts,
    licences,
    missing,
    write_labels,
)
from bcseg.reading import Pair
from bcseg.store import write_atomic
from bcseg.text import counted

TITLE = "Hugging Face datasets"
CANNOT = (
    "lesions that overlap: of two classes the smaller is on top",
    "lesions apart: a mask is the union of a class",
)
PARTS = {TRAIN: "train", VAL: "validation", TEST: "test", "": "train"}
TEXTS = """dataset record_id group laterality view kinds pixel_spacing_mm age birads density
    pathology source_image sop_instance_uid""".split()  # noqa: SIM905
NUMBERS = "height width bits_stored n_lesions mask_pixels".split()  # noqa: SIM905
_SHARD_BYTES = 256 << 20  # of files in a Parquet file; the Hub wants less than 500 MB
# Identifiers that the Hub knows; every other licence is "other"
_LICENCES = {"CC BY 3.0": "cc-by-3.0", "CC BY 4.0": "cc-by-4.0"}


def write(job: Job) -> None:
    """Write PART/images, PART/masks, PART/metadata.jsonl and README.md; or data/*.parquet."""
    classes = job.classes()
    done = (_parquet if job.how.parquet else _folders)(job, classes)
    names = {str(n): name for n, name in enumerate((BACKGROUND, *classes))}
    write_atomic(job.out / "id2label.json", (json.dumps(names, indent=2) + "\n").encode())
    parts = {part: sum(_part(pair) == part for pair in done) for part in PARTS.values()}
    parts = {part: count for part, count in parts.items() if count}
    write_atomic(job.out / "README.md", _card(job, names, parts).encode())
    if parts.keys() == {"train"} and not any(pair.split for pair in done):
        job.result.notes.append("no splits.csv: all pairs are in train; `bcseg split` first")
    job.result.next.append(f'load_dataset("{job.final}")  # datasets')


def _folders(job: Job, classes: Sequence[str]) -> list[Pair]:
    """Write files and metadata as imagefolder reads them."""

    def one(pair: Pair) -> None:
        part = job.out / _part(pair)
        labels, _ = class_map(pair, classes)
        job.take(pair.path("image"), part / "images" / f"{pair.case}.png")
        write_labels(part / "masks" / f"{pair.case}.png", labels)

    done = job.each(one)
    for part in sorted({_part(pair) for pair in done}):
        lines = [
            json.dumps(
                {
                    "file_name": f"images/{pair.case}.png",
                    "mask_file_name": f"masks/{pair.case}.png",
                    **_columns(pair),
                },
                ensure_ascii=False,
            )
            for pair in done
            if _part(pair) == part
        ]
        text = "".join(f"{line}\n" for line in lines)
        write_atomic(job.out / part / "metadata.jsonl", text.encode(errors="backslashreplace"))
    return done


def _part(pair: Pair) -> str:
    return PARTS.get(pair.split, "train")


def _columns(pair: Pair) -> dict[str, Any]:
    """Return what the tables say; a type a column, whatever the pair: unknown is ""."""
    texts = {name: pair.row[name] for name in TEXTS}
    numbers = {name: int(pair.row[name]) for name in NUMBERS}
    return {"case": pair.case, **texts, **numbers, "fold": pair.fold}


# ----------------------------------------------------------------------------- parquet


class _Shards:
    """Parquet files of one part, each written when it is full; only one is held in memory."""

    def __init__(self, folder: Path, part: str, features: Any) -> None:
        self._folder, self._part, self._features = folder, part, features
        self._rows: list[dict[str, Any]] = []
        self._bytes = self._number = 0

    def add(self, row: dict[str, Any], size: int) -> None:
        """Add a row with files of so many bytes."""
        self._rows.append(row)
        self._bytes += size
        if self._bytes >= _SHARD_BYTES:
            self.flush()

    def flush(self) -> None:
        """Write what is there."""
        from datasets import Dataset

        if self._rows:
            content = io.BytesIO()
            Dataset.from_list(self._rows, features=self._features).to_parquet(content)
            path = self._folder / f"{self._part}-{self._number:05d}.parquet"
            write_atomic(path, content.getvalue())
            self._rows, self._bytes, self._number = [], 0, self._number + 1


def _parquet(job: Job, classes: Sequence[str]) -> list[Pair]:
    """Write data/PART-NNNNN.parquet, the files in it; needs datasets."""
    try:
        import datasets
    except ImportError:
        raise missing("datasets") from None
    datasets.disable_progress_bars()
    values = {name: datasets.Value("string") for name in ("case", *TEXTS)}
    values |= {name: datasets.Value("int64") for name in NUMBERS}
    images = {name: datasets.Image() for name in ("image", "mask")}
    features = datasets.Features(images | values | {"fold": datasets.Value("string")})
    shards = {part: _Shards(job.out / "data", part, features) for part in PARTS.values()}

    def one(pair: Pair) -> None:
        name = f"{pair.case}.png"
        image = pair.file("image")
        mask = png.encode(class_map(pair, classes)[0], mask=True)
        row = {"image": {"bytes": image, "path": name}, "mask": {"bytes": mask, "path": name}}
        shards[_part(pair)].add(row | _columns(pair), len(image) + len(mask))

    done = job.each(one)
    for shard in shards.values():
        shard.flush()
    return done


# ----------------------------------------------------------------------------- the card


def _card(job: Job, names: Mapping[str, str], parts: Mapping[str, int]) -> str:
    """Return README.md: the licence as the Hub reads it, and what is in here."""
    where = "data/{}-*.parquet" if job.how.parquet else "{}/**"
    files = [{"split": part, "path": where.format(part)} for part in parts]
    about = {
        "pretty_name": job.how.name,
        **_licence(job),
        "task_categories": ["image-segmentation"],
        "tags": ["mammography", "medical", "breast-cancer"],
        "configs": [{"config_name": "default", "data_files": files}],
    }
    # JSON is YAML: names are quoted as they must be
    front = "".join(f"{key}: {json.dumps(value)}\n" for key, value in about.items())
    counts = "\n".join(f"- {part}: {counted(count, 'pair')}" for part, count in parts.items())
    classes = "\n".join(f"- {number}: {name}" for number, name in names.items())
    return (
        f"---\n{front}---\n\n# {job.how.name}\n\n## Licence\n\n```\n{licences(job.folders)}```\n\n"
        f"Mammograms with a mask of their lesions, made by bcseg.\n\n{counts}\n\n"
        f"Values of `mask` (`id2label.json`):\n\n{classes}\n"
    )


def _licence(job: Job) -> dict[str, str]:
    """Return the licence by the Hub's identifier; "other" for several and what it lacks."""
    words = sorted({str(facts(folder)["licence"]) for folder in job.folders})
    if len(words) == 1 and words[0] in _LICENCES:
        return {"license": _LICENCES[words[0]]}
    return {
        "license": "other",
        "license_name": "of the archives",
        "license_link": "LICENCE.txt",
    }
