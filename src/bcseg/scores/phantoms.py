"""Lesions whose truth is exact: irregular outlines with a visible rim on power-law texture."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from bcseg import raster
from bcseg.raster import Patch
from bcseg.record import Polygon

SIDE = 320  # pixels
_SLOPE = 3.0  # of the power spectrum of mammographic texture (Burgess 2001: 2.8 to 3)
_POINTS = 180


@dataclass(frozen=True, slots=True, eq=False)
class Phantom:
    """An image of 12 bits in uint16, and the exact pixels of the lesion in it."""

    name: str
    image: NDArray[np.uint16]
    mask: Patch


def phantom(number: int, seed: int = 0) -> Phantom:
    """Return one phantom: a third smooth, a third lobed, a third spiculated outlines."""
    random = np.random.default_rng([seed, number])
    radius = random.uniform(22, 50)
    kind = ("smooth", "lobed", "irregular")[number % 3]
    outline = _outline(radius, kind, random)
    mask = raster.draw(Polygon(tuple(map(tuple, outline.tolist()))), (SIDE, SIDE)).patch
    soft: NDArray[Any] = np.zeros((SIDE, SIDE), np.float32)
    soft[mask.top : mask.bottom, mask.left : mask.right] = mask.pixels
    soft = cv2.GaussianBlur(soft, (0, 0), random.uniform(1.5, 4.0))
    dome = cv2.GaussianBlur(soft, (0, 0), radius / 2)
    lesion = random.uniform(0.7, 1.5) * (0.75 * soft + 0.25 * dome)
    values = _texture(random) + lesion
    values += random.normal(0, 0.08, values.shape)
    scaled = 1500 + 350 * values
    return Phantom(f"{kind}-{number}", np.clip(np.rint(scaled), 0, 4095).astype(np.uint16), mask)


def _outline(radius: float, kind: str, random: np.random.Generator) -> NDArray[np.float64]:
    """Return points (x, y) of a star-shaped outline of harmonics with falling amplitude."""
    strength = {"smooth": 0.05, "lobed": 0.12, "irregular": 0.2}[kind]
    angle = np.linspace(0, 2 * math.pi, _POINTS, endpoint=False)
    reach = np.zeros(_POINTS)
    for order in range(2, 24):
        size = random.normal() * order ** (-1.0 if kind == "irregular" else -1.4)
        reach += size * np.cos(order * angle + random.uniform(0, 2 * math.pi))
    reach = radius * np.exp(strength * reach / max(float(reach.std()), 1e-9))
    stretch = random.uniform(0.75, 1.0)
    turn = random.uniform(0, math.pi)
    x, y = reach * np.cos(angle), stretch * reach * np.sin(angle)
    centre = SIDE / 2 + random.uniform(-20, 20, 2)
    return np.stack(
        [
            centre[0] + x * math.cos(turn) - y * math.sin(turn),
            centre[1] + x * math.sin(turn) + y * math.cos(turn),
        ],
        axis=1,
    )


def _texture(random: np.random.Generator) -> NDArray[np.float32]:
    """Return noise of unit spread whose power falls with the frequency to the power of 3."""
    frequency = np.hypot(np.fft.fftfreq(SIDE)[:, None], np.fft.rfftfreq(SIDE)[None, :])
    frequency[0, 0] = 1.0
    spectrum = np.fft.rfft2(random.normal(size=(SIDE, SIDE))) * frequency ** (-_SLOPE / 2)
    spectrum[0, 0] = 0.0
    field = np.fft.irfft2(spectrum, s=(SIDE, SIDE))
    texture: NDArray[np.float32] = (field / field.std()).astype(np.float32)
    return texture
