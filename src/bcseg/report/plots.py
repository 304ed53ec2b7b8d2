"""Plots as inline SVG: bars, histograms and boxes, with axes, units and their numbers in words."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape

_WIDTH = 440
_NARROW = 330  # of boxes
_LEFT, _RIGHT = 84, 28  # room for names, and for half a tick label
_FEW = 12  # values that are shown one by one
_TOP = 6
_ROW, _HISTOGRAM = 22, 58  # heights of a row of boxes, and of a histogram
_AXIS = 40  # height of ticks, their labels and the axis title
_BINS = 32
_BAR = 20
_NAMED = 24  # letters of a row's name


@dataclass(frozen=True, slots=True)
class Axis:
    """A horizontal axis from `low` to `high`; `step` between its ticks, 0 on a logarithmic one."""

    low: float
    high: float
    step: float

    @property
    def logarithmic(self) -> bool:
        """Whether equal distances are equal ratios."""
        return not self.step

    def place(self, value: float) -> float:
        """Return where a value stands on the axis, 0 to 1."""
        low, high, value = (self._scaled(v) for v in (self.low, self.high, value))
        return min(max((value - low) / (high - low), 0.0), 1.0)

    def _scaled(self, value: float) -> float:
        return math.log10(value) if self.logarithmic else value

    def ticks(self) -> list[float]:
        """Return the values that are written at the axis."""
        if self.logarithmic:
            return _log_ticks(self.low, self.high)
        first, last = round(self.low / self.step), round(self.high / self.step)
        return [number * self.step for number in range(first, last + 1)]


def _log_ticks(low: float, high: float) -> list[float]:
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for digits in ((1, 2, 5), (1,)):
        ticks = [d * 10.0**p for p in powers for d in digits if low <= d * 10.0**p <= high]
        if len(ticks) <= 9:
            break
    return ticks


def axis_of(values: Iterable[float], *, logarithmic: bool = False) -> Axis:
    """Return an axis on which all values stand; on a logarithmic one, those above zero."""
    known = [value for value in values if value > 0 or not logarithmic]
    low, high = min(known, default=1.0), max(known, default=2.0)
    if logarithmic:
        low, high = low / 1.15, high * 1.15
        if high / low < 2:
            low, high = low / 1.5, high * 1.5
        return Axis(low, high, 0.0)
    if high == low:
        low, high = low - 0.5, high + 0.5
    step = _round_step((high - low) / 4)
    return Axis(math.floor(low / step) * step, math.ceil(high / step) * step, step)


def _round_step(about: float) -> float:
    """Return the step of 1, 2 or 5 times a power of ten next above a length."""
    power = 10.0 ** math.floor(math.log10(about))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= about * 0.999)


def short(value: float) -> str:
    """Return a number for people: three digits that count, thousands apart."""
    if value == 0:
        return "0"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    text = f"{value:.{min(digits, 6)}f}"
    return (text.rstrip("0").rstrip(".") if "." in text else text) or "0"


def histograms(
    rows: Mapping[str, Sequence[float]], title: str, unit: str, *, logarithmic: bool = True
) -> str:
    """Return a histogram for each row, one above the other on one axis; "" without a value."""
    rows = {name: [v for v in values if v > 0 or not logarithmic] for name, values in rows.items()}
    rows = {name: values for name, values in rows.items() if values}
    if not rows:
        return ""
    axis = axis_of((v for values in rows.values() for v in values), logarithmic=logarithmic)
    body, words = [], []
    for number, (name, values) in enumerate(rows.items()):
        base = _TOP + (number + 1) * _HISTOGRAM - 8
        counts = _counts(values, axis)
        tall = max(counts)
        body.append(_histogram(counts, tall, base))
        body.append(_text(_LEFT - 8, base - 14, name, "end name"))
        body.append(_text(_LEFT - 8, base - 1, f"n = {len(values):,}", "end small"))
        body.append(_text(_LEFT + 3, base - _HISTOGRAM + 20, f"{tall:,}", "small"))
        middle = statistics.median(values)
        x = _x(axis, middle)
        body.append(f'<path class="middle" d="M{x} {base}v{-(_HISTOGRAM - 14)}"/>')
        words.append(f"{name}: {len(values):,} values, median {short(middle)} {unit}".strip())
    height = _TOP + len(rows) * _HISTOGRAM
    body.append(_axis(axis, height - 6, unit))
    return _svg(title, words, body, (_WIDTH, height + _AXIS))


def _counts(values: Iterable[float], axis: Axis) -> list[int]:
    counts = [0] * _BINS
    for value in values:
        counts[min(int(axis.place(value) * _BINS), _BINS - 1)] += 1
    return counts


def _histogram(counts: Sequence[int], tall: int, base: int) -> str:
    width = (_WIDTH - _LEFT - _RIGHT) / _BINS
    bars = []
    for number, count in enumerate(counts):
        if count:
            height = max(1.5, count / tall * (_HISTOGRAM - 18))
            x = _LEFT + number * width
            bars.append(f"M{x:.1f} {base}v{-height:.1f}h{width - 1:.1f}v{height:.1f}z")
    return (
        f'<path class="bar" d="{"".join(bars)}"/>'
        f'<path class="line" d="M{_LEFT} {base}.5h{_WIDTH - _LEFT - _RIGHT}"/>'
    )


def boxes(rows: Mapping[str, Sequence[float]], title: str, unit: str = "") -> str:
    """Return a box for each row on one axis: quartiles, median, and the 5th to 95th percentile.

    Of few values, each is a dot instead: quartiles would tell nothing.
    """
    rows = {name: sorted(values) for name, values in rows.items() if values}
    if not rows:
        return ""
    axis = axis_of(end for values in rows.values() for end in _ends(values))
    body, words = [], []
    for number, (name, values) in enumerate(rows.items()):
        middle = _TOP + number * _ROW + _ROW // 2
        cuts = [_at(values, share) for share in (0.05, 0.25, 0.5, 0.75, 0.95)]
        x = [_x(axis, cut, _NARROW) for cut in cuts]
        body.append(_text(_LEFT - 8, middle + 4, name, "end name"))
        body.append(_dots(axis, values, middle) if len(values) <= _FEW else _box(x, middle))
        body.append(f'<path class="middle" d="M{x[2]} {middle - 8}v16"/>')
        words.append(
            f"{name}: {len(values):,} values, median {short(cuts[2])}, half from {short(cuts[1])} "
            f"to {short(cuts[3])}"
        )
    height = _TOP + len(rows) * _ROW
    body.append(_axis(axis, height, unit, _NARROW))
    return _svg(title, words, body, (_NARROW, height + (_AXIS if unit else _AXIS - 14)))


def _ends(values: Sequence[float]) -> tuple[float, float]:
    """Return the least and the greatest of sorted values that are drawn."""
    few = len(values) <= _FEW
    return (values[0], values[-1]) if few else (_at(values, 0.05), _at(values, 0.95))


def _box(x: Sequence[float], middle: int) -> str:
    return (
        f'<path class="line" d="M{x[0]} {middle}H{x[4]}"/>'
        f'<path class="bar" d="M{x[1]} {middle - 6}H{max(x[3], x[1] + 1)}v12H{x[1]}z"/>'
    )


def _dots(axis: Axis, values: Sequence[float], middle: int) -> str:
    places = [_x(axis, value, _NARROW) for value in values]
    line = f'<path class="line" d="M{places[0]} {middle}H{places[-1]}"/>'
    return line + "".join(f'<circle class="dot" cx="{x}" cy="{middle}" r="4"/>' for x in places)


def _at(values: Sequence[float], share: float) -> float:
    """Return a quantile of sorted values, by linear interpolation."""
    place = share * (len(values) - 1)
    low = int(place)
    high = min(low + 1, len(values) - 1)
    return values[low] + (values[high] - values[low]) * (place - low)


def bars(counts: Mapping[str, int], title: str, *, shown: int = 14) -> str:
    """Return a bar for each word, with its count; of very many words the most frequent."""
    if not counts:
        return ""
    kept = dict(list(counts.items())[:shown])
    if len(counts) > shown:
        most = sorted(counts, key=lambda word: -counts[word])[: shown - 1]
        kept = {word: counts[word] for word in counts if word in most}
        kept[f"{len(counts) - len(most)} others"] = sum(
            n for word, n in counts.items() if word not in most
        )
    left = _LEFT + 66
    tall = max(max(kept.values()), 1)
    body = []
    for number, (word, count) in enumerate(kept.items()):
        y = _TOP + number * _BAR
        width = count / tall * (_WIDTH - left - 52)
        body.append(_text(left - 8, y + 14, word, "end name"))
        body.append(f'<rect class="bar" x="{left}" y="{y + 3}" width="{width:.1f}" height="14"/>')
        body.append(_text(left + width + 6, y + 14, f"{count:,}", "small"))
    words = [f"{word}: {count:,}" for word, count in kept.items()]
    return _svg(title, words, body, (_WIDTH, _TOP + len(kept) * _BAR + 4))


def _x(axis: Axis, value: float, width: int = _WIDTH) -> float:
    return round(_LEFT + axis.place(value) * (width - _LEFT - _RIGHT), 1)


def _axis(axis: Axis, y: int, unit: str, width: int = _WIDTH) -> str:
    places = [(_x(axis, tick, width), short(tick)) for tick in axis.ticks()]
    lines = "".join(f"M{x} {y}v5" for x, _ in places)
    labels = "".join(_text(x, y + 18, words, "mid small") for x, words in places)
    middle = (_LEFT + width - _RIGHT) / 2
    name = (
        f'<text x="{middle}" y="{y + 34}" class="mid small">{escape(unit)}</text>' if unit else ""
    )
    return f'<path class="line" d="M{_LEFT} {y}H{width - _RIGHT}{lines}"/>{labels}{name}'


def _text(x: float, y: float, words: str, style: str) -> str:
    shown = words if len(words) <= _NAMED else words[: _NAMED - 1] + "…"
    return f'<text x="{x:.1f}" y="{y}" class="{style}">{escape(shown)}</text>'


def _svg(title: str, words: Sequence[str], body: Sequence[str], size: tuple[int, int]) -> str:
    label = escape(f"{title}. {'; '.join(words)}", quote=True)
    return (
        f'<figure class="plot"><figcaption>{escape(title)}</figcaption>'
        f'<svg role="img" aria-label="{label}" viewBox="0 0 {size[0]} {size[1]}">'
        f"{''.join(body)}</svg></figure>"
    )
