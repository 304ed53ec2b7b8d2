"""All scores of one lesion from its pixels and its image."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bcseg.raster import Patch
from bcseg.record import Size
from bcseg.scores import checks, image, shape
from bcseg.scores.contour import contour_of
from bcseg.scores.neighbourhood import largest_part, neighbourhood
from bcseg.scores.shape import Scores

_SMALLEST = 4.0  # pixels of equivalent diameter: smaller lesions have no shape


def form_scores(patch: Patch, pixels: NDArray[Any] | None, size: Size) -> Scores:
    """Return shape and image scores; `pixels`: the written image, of `size`, None without one."""
    return _form(largest_part(patch), pixels, size)


def lesion_scores(
    patch: Patch, pixels: NDArray[Any] | None, size: Size, breast: NDArray[np.bool_] | None
) -> Scores:
    """Return checks, shape and image scores of a lesion on the written grid."""
    part = largest_part(patch)
    return checks.check_scores(patch, part, size, breast) | _form(part, pixels, size)


def _form(part: Patch, pixels: NDArray[Any] | None, size: Size) -> Scores:
    undefined: Scores = dict.fromkeys((*shape.NAMES, *image.NAMES))
    if not part.area or 2 * (part.area / np.pi) ** 0.5 < _SMALLEST:
        return undefined
    lesion = neighbourhood(part, pixels, size)
    contour = contour_of(lesion)
    if contour is None:
        return undefined
    outgrowth = shape.tongue(lesion)
    return shape.shape_scores(lesion, contour, outgrowth) | image.image_scores(
        lesion, contour, outgrowth
    )
