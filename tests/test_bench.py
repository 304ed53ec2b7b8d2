"""The performance bench runs, on tiny images, and reports every figure that it promises."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import pytest

from bcseg.conversion import Run, refactor
from bcseg.preprocessing import Options
from bcseg.settings import Settings

BENCH = Path(__file__).parent.parent / "bench"


@pytest.fixture(scope="module")
def bench() -> Iterator[ModuleType]:
    """Return the program of the bench."""
    sys.path.insert(0, str(BENCH))
    try:
        yield importlib.import_module("performance.__main__")
    finally:
        sys.path.remove(str(BENCH))


@pytest.fixture(scope="module")
def plan(bench: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Return a plan on tiny archives, which are built."""
    data = tmp_path_factory.mktemp("bench")
    plan = bench.Plan(data, 1, 6, 0.1, (6, 8), ("inbreast",))
    bench.prepare(plan)
    return plan


def test_a_case_is_measured_in_a_process_of_its_own(bench, plan):
    found = bench.case("measure", "bare", "inbreast", plan.source("inbreast"))
    assert found["cpu"] > 0
    assert found["peak"] > 20
    assert found["images"] > found["masks"] > 1000


def test_every_figure_is_measured_and_written(bench, plan, tmp_path, monkeypatch):
    # in this process: importing everything for each case would take a minute
    monkeypatch.setattr(bench, "case", importlib.import_module("performance.case").run)
    bench.contenders(plan)
    bench.others(plan)
    text = bench.report.text(plan.found)
    for dataset in plan.datasets:
        assert f"raw / bare, {dataset}" in text
    for figure in (
        "two workers",
        "first pair",
        "--help",
        "finished pairs: nothing",
        "verify --fast",
    ):
        assert figure in text
    document = tmp_path / "performance.md"
    document.write_text(f"head\n{bench.report.BEGIN}\nold\n{bench.report.END}\ntail\n")
    bench.report.write(document, text, plan.found)
    written = document.read_text()
    assert written.startswith("head\n")
    assert written.endswith("tail\n")
    assert text in written
    assert "old" not in written
    plots = sorted(path.name for path in tmp_path.glob("*.svg"))
    assert plots == ["performance-bare.svg", "performance-many.svg"]


def test_the_breakdown_names_functions_that_there_are(bench):
    case = importlib.import_module("performance.case")
    source = BENCH.parent / "src" / "bcseg"
    for label, module, function in case.SHOWN:
        texts = [path.read_text() for path in source.rglob(module)]
        assert any(f"def {function}(" in text for text in texts), label


@pytest.mark.parametrize("dataset", ["inbreast", "cdd"])
def test_the_naive_script_makes_the_same_images(bench, plan, tmp_path, dataset):
    archives = importlib.import_module("performance.archives")
    source = archives.archive(plan.data, dataset, images=6, scale=0.1)
    settings = Settings(pixels=Options(preset="classic"))
    refactor(dataset, source, tmp_path / "bcseg", settings, Run(jobs=1))
    scripts = importlib.import_module("performance.contenders").SCRIPTS
    for name in scripts:
        for part in ("images", "masks"):
            (tmp_path / name / part).mkdir(parents=True)
    pairs = archives.pairs_of(source, dataset)
    assert len(pairs) >= 2
    for pair in pairs:
        for name, script in scripts.items():
            script(pair, tmp_path / name)

        def image(folder: Path, name: str = pair.name) -> Any:
            return cv2.imread(str(folder / "images" / f"{name}.png"), cv2.IMREAD_UNCHANGED)

        np.testing.assert_array_equal(
            image(tmp_path / "naive"), image(tmp_path / "bcseg" / dataset)
        )
        np.testing.assert_array_equal(
            image(tmp_path / "bare"), image(tmp_path / "OpenCV and pydicom")
        )


def test_flags_of_a_region_of_the_table_know_its_points(bench):
    flags = importlib.import_module("score_flags")
    few = '{"name":"polygon","all_points_x":[100,400,500,50],"all_points_y":[100,150,600,500]}'
    assert "few_points" in flags._region_flags(few)
    assert "few_points" not in flags._region_flags('{"name":"circle","cx":693,"cy":814,"r":64}')
