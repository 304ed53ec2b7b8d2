"""Where the downloads of CBIS-DDSM put the files of a series, and what else lies beside them.

    A      Mass-Training_P_00001_LEFT_CC/<study UID>/<series UID>/000000.dcm, as the tables say
    B      manifest-*/CBIS-DDSM/<PatientID>/08-29-2017-DDSM-NA-96009/
           1.000000-full mammogram images-63992/1-1.dcm, and manifest-*/metadata.csv
    B-old  the same by an older retriever: 07-21-2016-DDSM-14412, no metadata.csv
    C      dicom/<study UID>/<series UID>/<SOP UID>.dcm
    D      jpeg/<series UID>/1-172.jpg, csv/ with the tables, dicom_info.csv and meta.csv
    E      DATA/Mass/Train/MALIGNANT/Mass-Training_P_00001_LEFT_CC_FULL_1.png and .._MASK_1.png

Of E, public readers tell the folders and *_FULL_*.png, *_MASK_*.png in equal numbers; that there is
one pair for each lesion, by its abnormality id, is inferred from that. It has no tables.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

LAYOUTS = ("B", "A", "B-old", "C", "D", "E")
MANIFEST = "manifest-ZkhPvrLo5216730872708713142"
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"

METADATA = (
    "Series UID,Collection,3rd Party Analysis,Data Description URI,Subject ID,Study UID,"
    "Study Description,Study Date,Series Description,Manufacturer,Modality,SOP Class Name,"
    "SOP Class UID,Number of Images,File Size,File Location,Download Timestamp"
)
META = (
    "SeriesInstanceUID,StudyInstanceUID,Modality,SeriesDescription,BodyPartExamined,SeriesNumber,"
    "Collection,Visibility,ImageCount"
)
DICOM_INFO = (
    "file_path,image_path,AccessionNumber,BitsAllocated,BitsStored,BodyPartExamined,Columns,"
    "ContentDate,ContentTime,ConversionType,HighBit,InstanceNumber,LargestImagePixelValue,"
    "Laterality,Modality,PatientBirthDate,PatientID,PatientName,PatientOrientation,PatientSex,"
    "PhotometricInterpretation,PixelRepresentation,ReferringPhysicianName,Rows,SOPClassUID,"
    "SOPInstanceUID,SamplesPerPixel,SecondaryCaptureDeviceManufacturer,"
    "SecondaryCaptureDeviceManufacturerModelName,SeriesDescription,SeriesInstanceUID,SeriesNumber,"
    "SmallestImagePixelValue,SpecificCharacterSet,StudyDate,StudyID,StudyInstanceUID,StudyTime"
)


@dataclass(frozen=True, slots=True)
class Series:
    """One series: its PatientID in the newer copies, its UIDs, and its date (YYYYMMDD)."""

    subject: str
    study: str
    uid: str
    description: str
    date: str

    def path(self, number: int) -> str:
        """Return the path that the tables give to a file of this series."""
        return f"{self.subject}/{self.study}/{self.uid}/{number:06d}.dcm"

    def folder(self, mark: str = "NA-") -> str:
        """Return the folder of the NBIA Data Retriever: dates, and the last digits of the UIDs."""
        study = f"{self.day()}-DDSM-{mark}{self.study[-5:]}"
        return f"CBIS-DDSM/{self.subject}/{study}/1.000000-{self.description}-{self.uid[-5:]}"

    def day(self) -> str:
        """Return the date as the retriever writes it."""
        return f"{self.date[4:6]}-{self.date[6:]}-{self.date[:4]}"


def place(layout: str, series: Series, number: int, sop_uid: str) -> str:
    """Return the name of a file (counted from 0) of a series, from the top of the archive."""
    match layout:
        case "A":
            return series.path(number)
        case "B":
            return f"{MANIFEST}/{series.folder()}/1-{number + 1}.dcm"
        case "B-old":
            return f"{MANIFEST}/{series.folder('')}/1-{number + 1}.dcm"
        case "C":
            return f"dicom/{series.study}/{series.uid}/{sop_uid}.dcm"
        case _:
            return f"jpeg/{series.uid}/{number + 1}-{sop_uid[-3:]}.jpg"


def pair_names(record: str, number: int, pathology: str) -> tuple[str, str]:
    """Return the names of image and mask of one lesion in layout E."""
    kind, part = record.split("_", 1)[0].split("-")
    word = "MALIGNANT" if pathology == "MALIGNANT" else "BENIGN"
    folder = f"DATA/{kind}/{part.removesuffix('ing')}/{word}"
    return f"{folder}/{record}_FULL_{number}.png", f"{folder}/{record}_MASK_{number}.png"


def case_table(layout: str, name: str) -> str:
    """Return where a case table lies, "" where there is none."""
    return {"D": f"csv/{name}", "E": ""}.get(layout, name)


def listing_row(series: Series, files: int, size: int) -> list[str]:
    r"""Return the row of a series in metadata.csv, with a location that begins with ".\"."""
    return [
        series.uid,
        "CBIS-DDSM",
        "",
        "https://doi.org/10.7937/K9/TCIA.2016.7O02S9CY",
        series.subject,
        series.study,
        "",
        series.day(),
        series.description,
        "",
        "MG",
        "Secondary Capture Image Storage",
        SECONDARY_CAPTURE,
        str(files),
        f"{size / 1e6:.2f} MB",
        ".\\" + series.folder().replace("/", "\\"),
        "2021-09-30T21:38:59.207",
    ]


def meta_row(series: Series, files: int) -> list[str]:
    """Return the row of a series in meta.csv of layout D."""
    start = [series.uid, series.study, "MG", series.description, "BREAST", "1"]
    return [*start, "CBIS-DDSM", "1", str(files)]


def info_row(name: str, fields: Mapping[str, object]) -> list[str]:
    """Return the row of a file in dicom_info.csv of layout D: its header as it was."""
    image = f"CBIS-DDSM/{name}"
    dicom = image.replace("/jpeg/", "/dicom/").replace(".jpg", ".dcm")
    return [dicom, image, *(str(fields[column]) for column in DICOM_INFO.split(",")[2:])]
