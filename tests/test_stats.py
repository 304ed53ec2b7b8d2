"""Statistics of pairs folders, and the published numbers beside them."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path

import pytest

from archives import FIVE
from bcseg import adapters, pairs, published, synth
from bcseg.adapters.base import highest_birads, pathology_word, worst_pathology
from bcseg.adapters.cbis import shipped_tables
from bcseg.conversion import Run, refactor
from bcseg.errors import UsageError
from bcseg.pairs import PairsFolder
from bcseg.settings import Settings
from bcseg.stats import Areas, KindCount, MaskCounts, stats


def record(record_id, **cells):
    row = {
        "dataset": "mine",
        "record_id": record_id,
        "source_image": f"raw/{record_id}.tif",
        "group": f"mine:{record_id[0]}",
        "laterality": "L",
        "view": "CC",
        "kinds": "mass",
        "n_lesions": "1",
        "height": "60",
        "width": "40",
        "mask_pixels": "12",
    }
    return row | {key: str(value) for key, value in cells.items()}


def lesion(record_id, lesion_id="1", **cells):
    row = {
        "dataset": "mine",
        "record_id": record_id,
        "lesion_id": lesion_id,
        "in_mask": "1",
        "kind": "mass",
        "area_px": "12",
        "bbox_x": "10",
        "bbox_y": "20",
        "bbox_w": "4",
        "bbox_h": "3",
        "self_intersecting": "0",
        "clipped": "0",
    }
    return row | {key: str(value) for key, value in cells.items()}


def folder(path, records, lesions=(), left_out=(), problems=(), **document):
    path.mkdir(parents=True)
    rows = {
        pairs.RECORDS: records,
        pairs.LESIONS: lesions,
        pairs.LEFT_OUT: left_out,
        pairs.PROBLEMS: problems,
    }
    for table, content in rows.items():
        words = [{key: str(value) for key, value in row.items()} for row in content]
        (path / table).write_bytes(pairs.table_bytes(table, words))
    options = {"kinds": ["mass"], "with_empty": ""} | document.pop("options", {})
    full = {"dataset": "mine", "title": "My archive", "options": options} | document
    pairs.write_document(path / pairs.DATASET, full)
    return PairsFolder(path)


def only(*folders):
    result = stats(folders)
    return result.datasets[0].counts if len(folders) == 1 else result


def figure(statistics_, name, dataset=0):
    (found,) = [c for c in statistics_.datasets[dataset].published if c.figure.name == name]
    return found


# ------------------------------------------------------------------------- counting


def test_pairs_images_and_patients_are_counted_apart(tmp_path):
    counts = only(
        folder(
            tmp_path / "mine",
            [
                record("a1", source_image="raw/a.tif", annotator=1),
                record("a2", source_image="raw/a.tif", annotator=2),
                record("b1"),
                record("c1", group=""),
            ],
        )
    )
    assert (counts.pairs, counts.images) == (4, 3)
    assert (counts.patients, counts.without_patient) == (2, 1)


def test_words_of_each_column_are_counted_and_the_unknown_named(tmp_path):
    rows = [record("a1", birads="4a"), record("a2", birads="10"), record("b1", birads="2")]
    rows += [record("b2", view="MLO", laterality="R", split="test", density="B")]
    columns = only(folder(tmp_path / "mine", rows)).columns
    assert list(columns["birads"].items()) == [("2", 1), ("4a", 1), ("10", 1), ("unknown", 1)]
    assert columns["view"] == {"CC": 3, "MLO": 1}
    assert columns["laterality"] == {"L": 3, "R": 1}
    assert columns["split"] == {"test": 1, "unknown": 3}
    assert columns["density"] == {"B": 1, "unknown": 3}


def test_lesions_are_counted_by_kind_in_the_mask_and_in_all(tmp_path):
    rows = [lesion("a1"), lesion("a1", 2, in_mask=0, kind="calcification"), lesion("b1")]
    rows += [lesion("b1", 2, in_mask=0, kind="pectoral_muscle")]
    counts = only(folder(tmp_path / "mine", [record("a1"), record("b1")], rows))
    assert list(counts.kinds.items()) == [
        ("mass", KindCount(2, 2)),
        ("calcification", KindCount(0, 1)),
        ("pectoral_muscle", KindCount(0, 1)),
    ]


def test_areas_in_mm2_and_in_pixels_are_never_mixed(tmp_path):
    known = [lesion("a1", n, area_px=100 * n, area_mm2=n) for n in (1, 2, 3, 4, 10)]
    unknown = [lesion("b1", 1, area_px=7), lesion("b1", 2, area_px=9, in_mask=0)]
    counts = only(folder(tmp_path / "mine", [record("a1"), record("b1")], known + unknown))
    assert counts.areas == (
        Areas("mm2", 5, 1.0, 2.0, 3.0, 4.0, 10.0, 4.0),
        Areas("px", 1, 7.0, 7.0, 7.0, 7.0, 7.0, 7.0),
    )
    assert counts.areas_by_kind == {"mass": counts.areas}


@pytest.mark.parametrize(
    ("box", "touches"),
    [
        ((10, 20, 4, 3), False),
        ((0, 20, 4, 3), True),
        ((10, 0, 4, 3), True),
        ((36, 20, 4, 3), True),  # the last column of 40
        ((35, 20, 4, 3), False),
        ((10, 57, 4, 3), True),  # the last row of 60
        ((10, 56, 4, 3), False),
        (("", "", "", ""), False),  # nothing of it is left in the written image
    ],
)
def test_a_lesion_at_the_border_of_the_written_image(tmp_path, box, touches):
    cells = dict(zip(("bbox_x", "bbox_y", "bbox_w", "bbox_h"), box, strict=True))
    counts = only(folder(tmp_path / "mine", [record("a1")], [lesion("a1", **cells)]))
    assert counts.masks.border == int(touches)


def test_peculiar_masks_are_counted_by_pair_and_only_lesions_in_the_mask(tmp_path):
    records = [record("a1", mask_pixels=0, n_lesions=0, kinds=""), record("b1", n_lesions=2)]
    lesions = [lesion("b1", n, clipped=1, self_intersecting=1) for n in (1, 2)]
    lesions += [lesion("a1", 1, in_mask=0, clipped=1, self_intersecting=1, bbox_x=0)]
    counts = only(folder(tmp_path / "mine", records, lesions))
    assert counts.masks == MaskCounts(
        empty=1, several_lesions=1, clipped=1, border=0, self_intersecting=1
    )


def test_the_total_of_two_datasets(tmp_path):
    one = folder(tmp_path / "one", [record("a1")], [lesion("a1", area_mm2=3)])
    other = [record("a1", dataset="other", group="other:a", width=30, height=60)]
    rows = [lesion("a1", dataset="other", bbox_x=26)]  # the border of 30 columns, not of 40
    two = folder(tmp_path / "two", other, rows, dataset="other", title="Another")
    result = stats([one, two])
    assert (result.total.pairs, result.total.images, result.total.patients) == (2, 2, 2)
    assert [(areas.unit, areas.count) for areas in result.total.areas] == [("mm2", 1), ("px", 1)]
    assert result.total.masks.border == 1
    assert result.notes == ()


def test_two_folders_of_one_dataset_are_named(tmp_path):
    one = folder(tmp_path / "cbis", [record("a1")])
    two = folder(tmp_path / "cbis-8bit", [record("a1")])
    result = stats([one, two])
    assert (result.total.pairs, result.total.images, result.total.patients) == (2, 1, 1)
    assert "2 folders hold mine" in result.notes[0]


def test_damaged_cells_and_short_rows_end_in_no_traceback(tmp_path):
    one = folder(tmp_path / "mine", [record("a1", mask_pixels="x")], [lesion("a1", area_px="?")])
    with (tmp_path / "mine" / pairs.RECORDS).open("a") as table:
        table.write("mine,short\n")
    counts = stats([one]).datasets[0].counts
    assert counts.pairs == 2
    assert counts.areas == ()
    (tmp_path / "mine" / pairs.LESIONS).write_bytes(b"\xff\xfe\xff")
    with pytest.raises(UsageError, match="cannot be read"):
        stats([one])


def test_an_empty_folder_has_statistics(tmp_path):
    result = stats([folder(tmp_path / "mine", [])])
    assert result.total.pairs == 0
    assert "pairs" in result.text()


# ------------------------------------------------------------------------- published


def test_every_published_number_has_a_source_a_measure_and_a_place():
    for name in adapters.ADAPTERS:
        of = published.archive(name)
        names = [one.name for one in of.figures]
        assert len(names) == len(set(names)) >= (6 if name in FIVE else 1)
        for one in of.figures:
            assert one.source
            assert one.source_kind in ("paper", "readme", "tables", "code")
            assert one.measure == "clinical" or one.measure in published._MEASURES
            assert one.part in ("", *of.parts)
            assert not one.unsure or "memory" in one.source
    assert published.archive("unheard-of").figures == ()


def test_the_adapters_state_the_same_numbers():
    for name, adapter in adapters.ADAPTERS.items():
        for key, number in getattr(adapter.INFO, "published", {}).items():
            assert published.value(name, key) == number, (name, key)


def cbis_tables():
    """Yield record id, row and kind of each row of the published tables."""
    for table in shipped_tables():
        kind = "mass" if table.name.startswith("mass") else "calcification"
        for row in table.rows:
            yield row.get("image_file_path").split("/")[0], row, kind


def whole_cbis(path, kinds):
    """Write the tables that a conversion of the whole of CBIS-DDSM has; no image, no mask."""
    rows = defaultdict(list)
    for record_id, row, kind in cbis_tables():
        rows[record_id].append((row, kind))
    records, lesions, left_out = [], [], []
    for record_id, of_image in sorted(rows.items()):
        first, kind = of_image[0]
        if kind not in kinds:
            cells = ("no_chosen_kind", f"{record_id}/1-1.dcm")
            left_out.append(left_out_row(record_id, *cells, dataset="cbis"))
            continue
        patient = first.get("patient_id")
        words = [pathology_word(row.get("pathology")) for row, _ in of_image]
        records.append(
            record(
                record_id,
                dataset="cbis",
                source_image=f"{record_id}/1-1.dcm",
                patient_id=patient,
                group=f"cbis:{patient}",
                laterality=first.get("left_or_right_breast")[0],
                view=first.get("image_view"),
                split="train" if "-Training_" in record_id else "test",
                pathology=worst_pathology(words),
                birads=highest_birads(row.get("assessment") for row, _ in of_image),
                n_lesions=len(of_image),
            )
        )
        lesions += [
            lesion(record_id, row.get("abnormality_id"), kind=kind, dataset="cbis", pathology=word)
            for (row, _), word in zip(of_image, words, strict=True)
        ]
    return folder(
        path,
        records,
        lesions,
        left_out,
        dataset="cbis",
        options={"kinds": sorted(kinds)},
        items={"images": {"found": 3103, "written": len(records)}},
        reasons={},
    )


def left_out_row(record_id, code, source, severity="left_out", dataset="mine"):
    return {
        "dataset": dataset,
        "record_id": record_id,
        "severity": severity,
        "code": code,
        "message": "",
        "source": source,
    }


def test_the_whole_of_cbis_agrees_with_every_count_of_its_tables(tmp_path):
    result = stats([whole_cbis(tmp_path / "cbis", {"mass", "calcification"})])
    different = [c.figure.name for c in result.datasets[0].published if c.mark == "different"]
    # what the paper counts otherwise than the tables, with the reason
    assert different == [
        "mass_cases",
        "mass_train_benign_paper",
        "mass_train_malignant_paper",
        "mass_test_benign_paper",
    ]
    assert all(c.explained for c in result.datasets[0].published)
    assert figure(result, "mass_cases").value == 892
    assert len(result.datasets[0].both_parts) == 31
    assert any("31 patients" in note for note in result.notes)
    assert "31         31" in result.text()


def test_a_partial_archive_is_a_line_for_each_part(tmp_path):
    whole = whole_cbis(tmp_path / "cbis", {"mass", "calcification"})
    for name in (pairs.RECORDS, pairs.LESIONS):
        rows = [
            row for row in whole.rows(name) if not row["record_id"].startswith("Mass-Test_P_000")
        ]
        assert len(rows) < len(whole.rows(name))
        (whole.path / name).write_bytes(pairs.table_bytes(name, rows))
    result = stats([whole])
    lines = result.text().splitlines()
    of_part = [line for line in lines if line.startswith("    mass test: ")]
    folded = [
        one
        for one in result.datasets[0].published
        if one.partial and one.figure.part == "mass_test"
    ]
    assert len(folded) > 5
    assert [line for line in of_part if "different" in line] == of_part[:1]
    assert "mass test: images" in of_part[0]
    assert of_part[0].endswith(f"so {len(folded) - 1} other numbers too")
    assert sum(line.startswith("    mass train: abnormalities, ") for line in lines) == 1


def test_the_default_kinds_of_cbis_compare_like_with_like(tmp_path):
    result = stats([whole_cbis(tmp_path / "cbis", {"mass"})])
    equal = {c.figure.name for c in result.datasets[0].published if c.mark == "equal"}
    # of all images, with or without a pair
    assert {"images", "patients", "calc_train_images", "calc_test_patients"} <= equal
    assert {"mass_train_rows", "mass_test_abnormalities", "mass_train_malignant"} <= equal
    calc = figure(result, "calc_train_rows")
    assert (calc.value, calc.mark) == (0, "different")
    assert "chosen kinds (mass)" in calc.reasons[0]
    both = figure(result, "patients_in_both_parts")
    assert both.value == 0
    assert any("across masses and calcifications" in reason for reason in both.reasons)
    assert all(c.explained for c in result.datasets[0].published)
    assert not any(
        "partial" in reason for c in result.datasets[0].published for reason in c.reasons
    )


def test_a_count_that_nothing_explains_says_so(tmp_path):
    whole = whole_cbis(tmp_path / "cbis", {"mass", "calcification"})
    table = tmp_path / "cbis" / pairs.LESIONS
    lines = table.read_text().splitlines(keepends=True)
    lost = next(n for n, line in enumerate(lines) if "Mass-Test_" in line)
    table.write_text("".join(lines[:lost] + lines[lost + 1 :]))
    result = stats([whole])
    wrong = figure(result, "mass_test_rows")
    assert (wrong.value, wrong.mark, wrong.explained) == (377, "different", False)
    assert "(no known reason)" in result.text()


def test_failed_and_limited_images_are_a_reason_and_count_as_found(tmp_path):
    of = {"dataset": "cdd", "options": {"kinds": ["finding"], "image_type": "dm"}}
    one = folder(
        tmp_path / "cdd",
        [record("P1_L_DM_MLO", dataset="cdd")],
        [lesion("P1_L_DM_MLO", kind="finding", dataset="cdd")],
        [
            left_out_row("P2_R_DM_CC", "limit", "a/P2_R_DM_CC.jpg"),
            left_out_row("P3_R_DM_CC", "no_lesion", "a/P3_R_DM_CC.jpg"),
            left_out_row("P4_R_DM_CC", "no_image", "table.csv#4"),
            left_out_row("P1_L_CM_MLO", "image_type_not_chosen", "a/P1_L_CM_MLO.jpg"),
            left_out_row("", "unknown_file", "notes.txt"),
        ],
        [
            left_out_row("P5_R_DM_CC", "truncated", "a/P5_R_DM_CC.jpg", "failed"),
            left_out_row("P6_R_DM_CC", "lesion_clipped", "a/P6_R_DM_CC.jpg", "warning"),
        ],
        items={"images": {"found": 6}, "contours": {"found": 9}},
        reasons={
            "images": {"left_out": {"duplicate_image": 1}},
            "contours": {"left_out": {"duplicate_contour": 2}},
        },
        **of,
    )
    result = stats([one])
    assert figure(result, "images").value == 5
    assert figure(result, "regions").value == 7
    assert figure(result, "DM_images").value == 4
    assert figure(result, "CM_images").value == 1
    assert figure(result, "patients").value == 4
    reasons = figure(result, "DM_images_with_regions").reasons
    assert reasons == (
        "partial archive: 4 of 1,003 images of DM are there",
        "1 image failed",
        "1 image left out by --limit",
    )
    assert figure(result, "images_with_regions").reasons[0] == "converted with --image-type dm"
    assert "partial archive: 5 of 2,006 images are there" in figure(result, "images").reasons


def test_a_selection_says_that_it_is_one(tmp_path):
    one = folder(
        tmp_path / "inbreast",
        [record("53100101", dataset="inbreast")],
        [lesion("53100101", dataset="inbreast", area_mm2=479.2)],
        [left_out_row("53100127", "not_selected", "x/53100127_0123456789abcdef_MG_R_CC_ANON.dcm")],
        dataset="inbreast",
        selection={"source_records": 2},
        items={"images": {"found": 410}},
    )
    result = stats([one])
    images = figure(result, "images")
    assert (images.value, images.reasons) == (2, ("the pairs are a selection",))
    assert figure(result, "masses").reasons[0] == "the pairs are a selection"
    assert (figure(result, "mass_area_mean").value, figure(result, "mass_area_mean").mark) == (
        479,
        "equal",
    )


def test_annotators_of_one_image_count_it_once(tmp_path):
    ids = ["test_011_1_a1", "test_011_1_a2", "test_012_0_a1", "train_011_0_a1"]
    rows = [record(i, dataset="csaw", source_image=f"x/{i[:-3]}.png") for i in ids]
    result = stats([folder(tmp_path / "csaw", rows, dataset="csaw")])
    assert figure(result, "test_images").value == 2
    assert figure(result, "test_patients").value == 2
    assert figure(result, "patients").value == 3  # 011 of the two parts are two people


def test_sets_of_bcdr_are_counted_apart(tmp_path):
    rows = [
        record("patient_3_study_4_img_3_4_1_LO", dataset="bcdr", attributes='{"set":"D01"}'),
        record("F01_patient_3_study_4_img_3_4_1_LO", dataset="bcdr", attributes='{"set":"F01"}'),
    ]
    lesions = [
        lesion(rows[0]["record_id"], n, pathology="benign", attributes=f'{{"lesion":"{n % 2}"}}')
        for n in (1, 2, 3)
    ]
    others = [
        left_out_row("patient_5_study_4_img_5_4_1_LO", "no_lesion", "BCDR-D01_dataset/p/img.tif"),
        left_out_row("F01_patient_5_study_4_img_5_4_1_LO", "no_lesion", "flat/img.tif"),
    ]
    result = stats([folder(tmp_path / "bcdr", rows, lesions, others, dataset="bcdr")])
    values = {c.figure.name: c.value for c in result.datasets[0].published}
    assert (values["D01_images"], values["D01_patients"], values["F01_patients"]) == (2, 2, 2)
    assert (values["D01_outlines"], values["D01_lesions"], values["F01_outlines"]) == (3, 2, 0)
    assert (values["D01_benign"], values["D01_malignant"]) == (3, 0)
    assert figure(result, "F03_images").reasons == ("no image of this part is in the archive",)
    assert "of parts that are not in the archive" in result.text()


# ------------------------------------------------------------------------- output


def test_the_document_is_json_and_the_text_fits_a_terminal(tmp_path):
    source = tmp_path / "original"
    built = synth.build("inbreast", source, images=8, scale=0.1)
    refactor("inbreast", source, tmp_path / "out", Settings(), Run(jobs=1))
    result = stats(pairs.open_root(tmp_path / "out"))
    document = json.loads(json.dumps(result.document()))
    assert document["schema_version"] == 1
    (one,) = document["datasets"]
    masses = [truth for truth in built.truths if truth.kind == "mass"]
    assert one["lesions"]["mass"] == {"in_mask": len(masses), "lesions": len(masses)}
    assert one["pairs"] == document["total"]["pairs"] == len({truth.record for truth in masses})
    assert one["masks"]["empty"] == 0
    assert one["lesion_areas"][0]["unit"] == "mm2"
    images = next(figure for figure in one["published"] if figure["name"] == "images")
    assert images["value"] == built.images
    assert images["published"] == 410
    assert images["mark"] == "different"
    assert images["reasons"] == [f"partial archive: {built.images} of 410 images are there"]
    assert str(tmp_path) not in json.dumps(document)
    text = result.text(80)
    assert "\x1b" not in text
    assert max(map(len, text.splitlines())) <= 100
    assert [line for line in text.splitlines() if line != line.rstrip()] == []


def test_every_dataset_of_a_root_is_in_the_text(tmp_path):
    one = folder(tmp_path / "one", [record("a1")])
    two = folder(tmp_path / "two", [record("b1", dataset="x")], dataset="x", title="An X")
    text = stats([one, two]).text()
    assert "mine  My archive (one)" in text
    assert "x  An X (two)" in text
    assert "all  all datasets together" in text
    assert Path(tmp_path).name not in text
