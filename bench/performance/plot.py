"""Two small SVG plots: grouped bars, and lines over a logarithmic axis."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

_COLOURS = ("#1b6ca8", "#5aa9e6", "#2a9d8f", "#e9a23b", "#b23a48")
_WIDTH, _LEFT, _ROW = 640, 96, 15
_LINES_HEIGHT, _MARGIN = 150, 44


def bars(groups: Mapping[str, Mapping[str, float]]) -> str:
    """Return a bar for each value of each group, a line at 1, and the numbers beside them."""
    longest = max(value for group in groups.values() for value in group.values())
    scale = (_WIDTH - _LEFT - 150) / longest
    body: list[str] = []
    y = 8
    for name, group in groups.items():
        body.append(_text(_LEFT - 8, y + 2.5 * _ROW, name, "end"))
        for colour, (label, value) in zip(_COLOURS, group.items(), strict=True):
            width = value * scale
            body.append(
                f'<rect x="{_LEFT}" y="{y}" width="{width:.1f}" height="11" fill="{colour}"/>'
            )
            body.append(_text(_LEFT + width + 5, y + 10, f"{value:.2f} {label}"))
            y += _ROW
        y += 8
    one = _LEFT + scale
    body.append(f'<path d="M{one:.1f} 4V{y}" stroke="#888" stroke-dasharray="3 3"/>')
    return _svg(body, y + 4)


def lines(series: Mapping[str, Sequence[tuple[float, float]]]) -> str:
    """Return a plot for each series, one above the other, x logarithmic, y from zero."""
    xs = [math.log10(x) for points in series.values() for x, _ in points]
    low, high = min(xs), max(xs)
    body: list[str] = []
    for number, (name, points) in enumerate(series.items()):
        top = 20 + number * (_LINES_HEIGHT + _MARGIN)
        base = top + _LINES_HEIGHT
        tallest = max(y for _, y in points) * 1.25
        body.append(_text(_LEFT, top - 6, name))
        body.append(f'<path d="M{_LEFT} {top}V{base}H{_WIDTH - 60}" fill="none" stroke="#444"/>')
        places = []
        for x, y in points:
            across = _LEFT + 20 + (math.log10(x) - low) / (high - low) * (_WIDTH - _LEFT - 140)
            up = base - y / tallest * _LINES_HEIGHT
            places.append(f"{across:.1f} {up:.1f}")
            body.append(f'<circle cx="{across:.1f}" cy="{up:.1f}" r="3" fill="{_COLOURS[0]}"/>')
            body.append(_text(across, up - 8, f"{y:.3g}", "middle"))
            body.append(_text(across, base + 15, f"{x:,.0f} pairs", "middle"))
        body.append(
            f'<path d="M{"L".join(places)}" fill="none" stroke="{_COLOURS[0]}" stroke-width="1.5"/>'
        )
    return _svg(body, 20 + len(series) * (_LINES_HEIGHT + _MARGIN))


def _text(x: float, y: float, words: str, anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{words}</text>'


def _svg(body: Sequence[str], height: float) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height:.0f}" '
        f'width="{_WIDTH}" height="{height:.0f}" font-family="sans-serif" font-size="11">'
        f'<rect width="100%" height="100%" fill="#fff"/>{"".join(body)}</svg>\n'
    )
