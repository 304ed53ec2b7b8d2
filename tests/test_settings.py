"""What may be chosen, and what makes two conversions different."""

from __future__ import annotations

import json
from dataclasses import fields

import pytest

from bcseg import adapters
from bcseg.adapters.base import ReadOptions
from bcseg.errors import UsageError
from bcseg.preprocessing import Options
from bcseg.record import KINDS, LESION_KINDS
from bcseg.settings import Settings, chosen_kinds, differences

DATASETS = ("bcdr", "cbis", "cdd", "csaw", "inbreast")


def identity(dataset: str, settings: Settings) -> dict:
    info = adapters.get(dataset).INFO
    return settings.for_dataset(info).identity(info)


# ------------------------------------------------------------------------------ kinds


def test_words_name_kinds():
    assert chosen_kinds([]) == frozenset()
    assert chosen_kinds(["mass", "nipple"]) == {"mass", "nipple"}
    assert chosen_kinds(["lesions"]) == set(LESION_KINDS)
    assert chosen_kinds(["lesions", "skin"]) == {*LESION_KINDS, "skin"}


@pytest.mark.parametrize(
    ("word", "near"),
    [
        ("masses", "mass"),
        ("lesion", "lesions"),
        ("pectoral muscle", "pectoral_muscle"),
        ("Calcification", "calcification"),
    ],
)
def test_a_wrong_kind_is_met_with_the_nearest(word, near):
    with pytest.raises(UsageError, match=f"do you mean '{near}'") as caught:
        chosen_kinds(["mass", word])
    assert all(kind in caught.value.hint for kind in KINDS)


def test_a_word_like_no_kind():
    with pytest.raises(UsageError) as caught:
        chosen_kinds(["xyz"])
    assert "do you mean" not in str(caught.value)


@pytest.mark.parametrize("dataset", DATASETS)
def test_a_dataset_fills_in_its_kinds(dataset):
    default = {"cdd": "finding", "csaw": "cancer"}.get(dataset, "mass")
    assert identity(dataset, Settings())["kinds"] == [default]
    chosen = Settings(read=ReadOptions(kinds=frozenset(["text", "calcification"])))
    assert identity(dataset, chosen)["kinds"] == ["calcification", "text"]


# ------------------------------------------------------------------------------ options


OWN = {
    "bcdr": set(),
    "cbis": {"merge_twins"},
    "cdd": {"image_type"},
    "csaw": {"annotator"},
    "inbreast": {"osirix_origin"},
}
VALUES = {
    "image_type": "cm",
    "annotator": "majority",
    "osirix_origin": "centre",
    "merge_twins": True,
}


@pytest.mark.parametrize("option", VALUES)
@pytest.mark.parametrize("dataset", DATASETS)
def test_options_of_one_dataset_mean_nothing_for_others(dataset, option):
    settings = Settings(read=ReadOptions(**{option: VALUES[option]}))
    if option in OWN[dataset]:
        assert identity(dataset, settings)[option] == VALUES[option]
    else:
        with pytest.raises(UsageError, match=f"--{option.replace('_', '-')} means nothing"):
            identity(dataset, settings)


# ------------------------------------------------------------------------------ identity


def test_every_choice_is_part_of_the_identity():
    """A field that is forgotten here would mix pairs of different options in one folder."""
    whole: dict = {}
    for dataset in DATASETS:
        whole |= identity(dataset, Settings())
    names = {one.name for kind in (Settings, ReadOptions, Options) for one in fields(kind)}
    assert names - {"read", "pixels", "limits"} <= whole.keys()  # limits change no pair


def test_an_identity_survives_json():
    settings = Settings(
        read=ReadOptions(kinds=frozenset(["mass", "cluster"])),
        pixels=Options(depth="8", window=(100.0, 3500.5), spacing_mm=0.1),
        point_radius=2.5,
    )
    one = identity("inbreast", settings)
    assert json.loads(json.dumps(one)) == one
    assert one["window"] == [100.0, 3500.5]


def test_differences_are_told_by_option():
    old = identity("inbreast", Settings())
    new = identity(
        "inbreast",
        Settings(
            read=ReadOptions(kinds=frozenset(["mass", "cluster"])),
            pixels=Options(spacing_mm=0.1, flip=True),
            with_empty="normal",
        ),
    )
    assert differences(old, old) == []
    assert differences(old, new) == [
        "--flip: no there, yes now",
        "--kind: mass there, mass cluster now",
        "--spacing: none there, 0.1 now",
        "--with-empty: none there, normal now",
    ]
    assert differences({"dataset": "cdd", "format": 1}, {"dataset": "bcdr", "format": 2}) == [
        "dataset: cdd there, bcdr now",
        "format: 1 there, 2 now",
    ]


def test_an_option_of_another_version_is_told_too():
    assert differences({"old": 1}, {}) == ["--old: 1 there, none now"]
