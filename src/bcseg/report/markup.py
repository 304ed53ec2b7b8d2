"""Parts of HTML: everything from a table or a document is escaped here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape


def quoted(text: object) -> str:
    """Return a text for HTML, inside an attribute or out of it."""
    return escape(str(text), quote=True)


def tag(text: str, style: str = "", title: str = "") -> str:
    """Return a word in a frame; `title`: what it means."""
    told = f' title="{quoted(title)}"' if title else ""
    return f'<span class="{f"tag {style}".strip()}"{told}>{quoted(text)}</span>'


def short_title(title: str) -> str:
    """Return "BCDR" for "BCDR (Breast Cancer Digital Repository)"."""
    return title.partition(" (")[0]


def listed(lines: Iterable[str]) -> str:
    """Return a list of texts; "" for none."""
    entries = "".join(f"<li>{quoted(line)}</li>" for line in lines)
    return f'<ul class="notes">{entries}</ul>' if entries else ""


def table(head: Sequence[str], rows: Iterable[Sequence[str]], caption: str = "") -> str:
    """Return a table of cells that are HTML already; a head that begins with "#" is of numbers."""
    numbers = [title.startswith("#") for title in head]
    style = [' class="number"' if one else "" for one in numbers]
    titles = "".join(
        f'<th scope="col"{s}>{quoted(title.lstrip("#"))}</th>'
        for title, s in zip(head, style, strict=True)
    )
    body = "".join(
        "<tr>"
        + "".join(
            f'<th scope="row">{cell}</th>' if place == 0 else f"<td{style[place]}>{cell}</td>"
            for place, cell in enumerate(row)
        )
        + "</tr>"
        for row in rows
    )
    named = f"<caption>{quoted(caption)}</caption>" if caption else ""
    return (
        f'<div class="wide"><table>{named}<thead><tr>{titles}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )
