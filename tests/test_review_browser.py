"""Review in a real browser: keys, zoom, filter, two windows, a server that is killed."""

from __future__ import annotations

import csv
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from archives import rows
from bcseg import pairs
from browser import chromium
from reviewing import make_root, serving

SCRIPT = "<img src=x onerror=document.title='owned'><script>document.title='owned'</script>"
MODULES = """
const names = ["state", "decisions", "render", "panel", "review"];
return Promise.all(names.map((name) => import(`./${name}.js`))).then((all) => {
  const { $, page, view } = all[0], { verdictOf } = all[1], { paint } = all[2];
  const { companions } = all[3], { look } = all[4], { image } = page;
  BODY
});
"""


class Window:
    """A window of the page."""

    def __init__(self, driver: Any, handle: str) -> None:
        self.driver = driver
        self.handle = handle

    def here(self) -> Any:
        if self.driver.current_window_handle != self.handle:
            self.driver.switch_to.window(self.handle)
        return self.driver

    def run(self, script: str) -> Any:
        """Run a script that knows what the page's modules export."""
        return self.here().execute_script(MODULES.replace("BODY", script))

    def open(self, url: str) -> None:
        self.here().get("about:blank")
        self.driver.get(url)
        self.until(
            lambda: self.driver.execute_script("return document.body.dataset.started") == "yes"
        )

    def text(self, name: str) -> str:
        return self.run(f"return document.getElementById('{name}').textContent")

    def press(self, *keys: str) -> None:
        from selenium.webdriver.common.action_chains import ActionChains

        self.here()
        for key in keys:
            ActionChains(self.driver).send_keys(key).perform()

    def answer(self, key: str, text: str) -> None:
        """Press a key that asks for a text, and give it."""
        self.press(key, text + "\ue007")

    def decide(self, key: str) -> None:
        """Press a key and wait until another pair (or the end) is there."""
        before = self.run("return page.last")
        self.press(key)
        self.until(lambda: self.run("return page.last") > before)
        self.settle()

    def settle(self) -> None:
        self.until(
            lambda: self.run(
                "return (page.ready && !page.busy) || /: done/.test($('veil').textContent)"
            )
        )

    def until(self, true: Callable[[], Any], seconds: float = 10) -> None:
        end = time.monotonic() + seconds
        while not true():
            assert time.monotonic() < end, self.run("return document.body.innerText")
            time.sleep(0.02)

    @property
    def record(self) -> str:
        return self.run("return page.pairs[page.current].record_id")


def complaints(driver: Any) -> list[str]:
    """Return what the page itself complained of: scripts that failed, policies that were broken."""
    severe = [line["message"] for line in driver.get_log("browser") if line["level"] == "SEVERE"]
    # what the browser itself says about an answer that is an error, or about none
    return [line for line in severe if "Failed to load resource" not in line]


@pytest.fixture(scope="module")
def driver(tmp_path_factory) -> Iterator[Any]:
    with chromium(tmp_path_factory.mktemp("chromium")) as one:
        yield one


@pytest.fixture
def window(driver) -> Iterator[Window]:
    one = Window(driver, driver.current_window_handle)
    yield one
    one.here().get("about:blank")
    assert complaints(driver) == []


@pytest.fixture
def root(tmp_path) -> Path:
    return make_root(tmp_path / "root", "inbreast", "cbis", "bcdr")


def table(root: Path) -> dict[str, tuple[str, str]]:
    path = root / "reviews" / "ann.csv"
    if not path.exists():
        return {}
    with path.open(newline="", encoding="utf-8") as file:
        return {
            row["record_id"] + row["lesion_id"]: (row["decision"], row["reason"])
            for row in csv.DictReader(file)
        }


def test_one_key_a_decision_and_undo(root, window):
    with serving(root) as server:
        window.open(server.url)
        assert "precisely" in window.text("question")
        seen = []
        for key in ("a", "2", "x", " "):
            seen.append(window.record)
            window.decide(key)
        assert [table(root)[one] for one in seen] == [
            ("accept", ""),
            ("reject", "loose"),
            ("reject", ""),
            ("unsure", ""),
        ]
        assert len({*seen, window.record}) == 5
        assert re.fullmatch(r"3 of \d+ decided, 1 unsure", window.text("counts"))
        strip = window.run("return [...document.querySelectorAll('#strip li')].length")
        assert strip == 4
        window.decide("u")
        assert window.record == seen[3]
        window.decide("\ue003")  # backspace
        assert window.record == seen[2]
        assert [*table(root)] == sorted(seen[:2])
        window.answer("f", "note: see")
        window.until(lambda: len(table(root)) == 3)
        assert table(root)[seen[2]] == ("flag", "")
        window.settle()
        typed = window.record
        window.answer("r", "too round")
        window.until(lambda: typed in table(root))
        assert table(root)[typed] == ("reject", "too round")


def test_looking_zooming_and_windowing_decide_nothing(root, window):
    with serving(root) as server:
        window.open(server.url)
        first = window.record
        state = "return [view.mode, view.scale, view.overlay, view.fill, view.invert]"
        mode, scale, *_ = window.run(state)
        assert mode == "lesion"
        window.press("z")
        assert window.run(state)[0] == "whole"
        window.press("z")
        assert window.run(state)[:2] == ["100 %", 1]
        window.press("z", "+")
        window.until(lambda: window.run(state)[1] > scale * 1.2)
        window.press("t", "i")
        assert window.run(state)[2:] == [False, False, True]
        window.press("o")
        assert window.run(state)[2:4] == [True, True]
        drawn = window.run(
            "return [...$('overlay').getContext('2d').getImageData(0, 0,"
            " $('overlay').width, $('overlay').height).data].some((v) => v)"
        )
        assert drawn
        before = window.run("return [view.low, view.high, view.x]")
        drag(window, 60, 0)
        after = window.run("return [view.low, view.high, view.x]")
        assert after[:2] == before[:2]
        assert after[2] < before[2]
        drag(window, 50, 30, right=True)
        moved = window.run("return [view.low, view.high, view.x]")
        assert moved[1] - moved[0] > after[1] - after[0]
        assert moved[2] == after[2]
        window.press("w", "w")  # from a dragged window to that of the breast, to that of the screen
        screen = window.run("return [view.low, view.high, image.low, image.high, view.window]")
        assert screen[4] == "screen"
        assert screen[0] >= screen[2] or screen[1] <= screen[3]
        window.press("w")
        assert window.run("return view.low === image.low && view.high === image.high")
        window.press("l")
        bright = window.run("return getComputedStyle(document.body).backgroundColor")
        window.press("l")
        assert bright != window.run("return getComputedStyle(document.body).backgroundColor")
        window.press("\ue014")  # right arrow
        window.until(lambda: window.record != first)
        window.settle()
        window.press("\ue012")
        window.until(lambda: window.record == first)
        window.press("?")
        assert window.run("return $('help').open")
        window.press("a", "?")
        assert not window.run("return $('help').open")
        assert not (root / "reviews" / "ann.csv").exists()


def drag(window: Window, right_by: int, down_by: int, *, right: bool = False) -> None:
    from selenium.webdriver.common.actions.action_builder import ActionBuilder
    from selenium.webdriver.common.actions.mouse_button import MouseButton

    x, y = window.run(
        "const b = $('judged').getBoundingClientRect();"
        "return [Math.round(b.x + b.width / 2), Math.round(b.y + b.height / 2)]"
    )
    action = ActionBuilder(window.here())
    pointer = action.pointer_action
    pointer.move_to_location(x, y)
    pointer.pointer_down(MouseButton.RIGHT if right else MouseButton.LEFT)
    pointer.move_to_location(x + right_by, y + down_by)
    pointer.pointer_up(MouseButton.RIGHT if right else MouseButton.LEFT)
    action.perform()
    time.sleep(0.1)


def test_what_is_drawn_is_the_pixels(root, window):
    """At 100 % each pixel on the screen is the window's grey of the stored 16-bit value."""
    from archives import pixels

    with serving(root) as server:
        window.open(server.url)
        number = window.run("return page.pairs.findIndex((p) => p.dataset === 'inbreast')")
        window.run(f"look({number})")
        window.settle()
        window.until(lambda: window.run(f"return page.current === {number} && page.ready"))
        name = window.record
        stored = pixels(root / "inbreast" / "images" / f"{name}.png").astype(float)
        window.run("view.scale = 2; view.x = image.columns / 2; view.y = image.rows / 2; paint()")
        low, high, columns, high_rows, width, height = window.run(
            "return [view.low, view.high, image.columns, image.rows, $('plain').width,"
            " $('plain').height]"
        )
        grey = window.run(
            "const p = $('plain').getContext('2d').getImageData(0, 0, $('plain').width,"
            " $('plain').height).data; const out = [];"
            "for (let n = 0; n < p.length; n += 4 * 997) out.push(p[n]); return out"
        )
        checked = 0
        for n, value in enumerate(grey):
            row, column = divmod(n * 997, int(width))
            y = (row + 0.5 - height / 2) / 2 + high_rows / 2
            x = (column + 0.5 - width / 2) / 2 + columns / 2
            if 0 <= x < columns and 0 <= y < high_rows:
                share = min(1, max(0, (stored[int(y), int(x)] - low) / (high - low)))
                assert abs(value - share * 255) <= 1
                checked += 1
        assert checked > 50


def test_one_lesion_and_the_other_view(root, window):
    with serving(root) as server:
        window.open(server.url)
        number = window.run("return page.pairs.findIndex((p) => p.lesions.length > 1)")
        window.run(f"look({number})")
        window.until(lambda: window.run(f"return page.current === {number} && page.ready"))
        record = window.record
        lesions = window.run("return page.pairs[page.current].lesions.map((l) => l.lesion_id)")
        window.press("\ue004")  # Tab
        window.decide("a")
        assert window.record == record
        assert table(root) == {record + lesions[0]: ("accept", "")}
        for _ in lesions[1:]:
            window.decide("1")
        assert window.record != record
        assert table(root)[record + lesions[1]] == ("reject", "oval")
        assert window.text("counts").startswith("1 of")
        assert window.run(f"return verdictOf(page.pairs[{number}]).decision") == "reject"

        home = window.run("return page.pairs.findIndex((p, n) => companions(n).length)")
        window.run(f"look({home})")
        window.until(lambda: window.run(f"return page.current === {home} && page.ready"))
        window.press("c")
        window.until(lambda: window.run(f"return page.current !== {home} && page.ready"))
        groups = window.run(f"return [page.pairs[{home}].group, page.pairs[page.current].group]")
        assert groups[0] == groups[1]


def test_filter_and_jump(root, window):
    with serving(root) as server:
        window.open(server.url)
        window.answer("/", "cbis -calcification")
        window.settle()
        expected = [
            row["record_id"]
            for row in rows(root / "cbis", "records.csv")
            if "calcification" not in row["kinds"]
        ]
        assert window.run("return page.order.length") == len(expected)
        assert window.record in expected
        window.decide("a")
        assert window.record in expected
        window.answer("/", "nosuchthing")
        assert window.run("return page.order.length") == len(expected)
        assert "no pair fits" in window.text("saved")
        window.press("/", "\ue003", "\ue007")
        window.until(lambda: window.run("return page.order.length === page.pairs.length"))
        target = rows(root / "bcdr", "records.csv")[-1]["record_id"]
        window.answer("g", target[-9:])
        window.until(lambda: window.record == target)
        window.answer("/", "mask_pixels<0")
        assert "no pair fits" in window.text("saved")


def test_two_windows_and_a_server_killed_and_started_again(root, window):
    with serving(root) as server:
        window.open(server.url)
        driver = window.here()
        driver.switch_to.new_window("tab")
        other = Window(driver, driver.current_window_handle)
        try:
            other.open(server.url)
            first = window.record
            window.decide("a")
            other.until(lambda: "accept" in other.text("verdict"))  # it sees what the other did
            assert other.record == first
            other.press("\ue014")
            other.settle()
            second = other.record
            other.decide("3")
            window.until(lambda: window.run("return page.last") == 2)
            saved = table(root)
            assert saved == {first: ("accept", ""), second: ("reject", "tight")}

            server.kill()
            window.settle()
            unsaved = window.record
            window.press("a")
            window.until(lambda: "Not saved" in window.text("trouble"))
            assert window.record == unsaved
            assert table(root) == saved
            with serving(root, server.port) as again:
                other.open(again.url)
                assert other.text("counts").startswith("2 of")
                window.until(lambda: "earlier start" in window.text("trouble"))
                window.open(again.url)
                assert not window.run("return $('trouble').hidden === false")
                third = window.record
                window.decide("x")
                assert table(root) == saved | {third: ("reject", "")}
        finally:
            other.here().close()
            driver.switch_to.window(window.handle)


def test_what_comes_from_tables_is_text(root, window):
    folder = root / "bcdr"
    records = rows(folder, "records.csv")
    for row in records:
        row |= {"patient_id": SCRIPT, "kinds": SCRIPT, "view": SCRIPT, "pathology": SCRIPT}
    (folder / "records.csv").write_bytes(pairs.table_bytes("records.csv", records))
    lesions = rows(folder, "lesions.csv")
    for row in lesions:
        row |= {"kind": SCRIPT, "label": SCRIPT}
    (folder / "lesions.csv").write_bytes(pairs.table_bytes("lesions.csv", lesions))
    with serving(root, question=SCRIPT) as server:
        window.open(server.url)
        window.run("look(page.pairs.findIndex((p) => p.dataset === 'bcdr'))")
        window.until(lambda: window.run("return page.ready"))
        one = window.record
        window.answer("r", SCRIPT)
        window.until(lambda: one in table(root))
        window.settle()
        window.run("look(page.pairs.findIndex((p) => p.record_id === '" + one + "'))")
        window.until(lambda: SCRIPT in window.text("verdict"))
        assert SCRIPT in window.text("question")
        assert window.run("return document.querySelectorAll('img').length") == 0
        assert window.run("return document.querySelectorAll('script').length") == 1
        assert window.run("return document.title") != "owned"
        assert table(root)[one] == ("reject", SCRIPT)


def test_unsure_and_flagged_pairs_come_back_and_then_it_is_done(tmp_path, window):
    root = make_root(tmp_path / "root", "cbis")
    total = len(rows(root / "cbis", "records.csv"))
    with serving(root) as server:
        window.open(server.url)
        unsure = window.record
        window.decide(" ")
        flagged = window.record
        window.answer("f", "whose?")
        window.until(lambda: flagged in table(root))
        window.settle()
        for _ in range(total - 2):
            assert window.record not in (unsure, flagged)
            window.decide("a")
        assert window.record == unsure  # the oldest first
        window.decide(" ")
        assert window.record == flagged
        window.press("x")
        window.until(lambda: "done" in window.text("veil"))
        assert window.text("counts") == f"{total - 1} of {total} decided, 1 unsure"
        assert "bcseg select" in window.text("veil")
        assert table(root)[flagged] == ("reject", "")
        window.press("u")  # from the end, too
        window.until(lambda: window.record == flagged and not window.text("veil"))
        assert table(root)[flagged] == ("flag", "")


def test_the_last_word_counts_for_a_pair_and_its_lesions(root, window):
    with serving(root) as server:
        window.open(server.url)
        number = window.run("return page.pairs.findIndex((p) => p.lesions.length > 1)")
        pair = f"page.pairs[{number}]"
        verdict = f"const v = verdictOf({pair}); return v && v.decision"

        def again(*keys: str) -> None:
            window.run(f"look({number})")
            window.until(lambda: window.run(f"return page.current === {number} && page.ready"))
            window.press(*keys[:-1])
            window.decide(keys[-1])

        again("a")
        again("\ue004", "2")  # one lesion of the accepted pair is loose after all
        assert window.run(verdict) == "reject"
        record = window.run(f"return {pair}.record_id")
        assert sorted(d for name, (d, _) in table(root).items() if name.startswith(record)) == [
            "accept",
            "reject",
        ]
        again("a")  # no: the whole is fine
        assert window.run(verdict) == "accept"
        assert table(root) == {record: ("accept", "")}
        window.decide("u")
        assert window.run(verdict) == "reject"


def test_a_lost_answer_is_no_second_decision(root, window):
    """The decision arrived, its answer did not: the same key again enters it no second time."""
    with serving(root) as server:
        window.open(server.url)
        first = window.record
        window.run(
            "window.real = window.fetch; window.fetch = (...all) => all[0] !== 'api/decide'"
            " ? window.real(...all) : window.real(...all).then(() => { throw new TypeError('x') });"
        )
        window.press("a")
        window.until(lambda: "Not saved" in window.text("trouble"))
        assert window.record == first
        window.run("window.fetch = window.real")
        window.press("a")
        window.until(lambda: window.record != first)
        assert window.run("return page.last") == 1
        assert table(root) == {first: ("accept", "")}


def test_what_comes_next_is_there_already_and_what_is_broken_is_said(tmp_path, window):
    root = make_root(tmp_path / "root", "cbis")
    first, second, third = rows(root / "cbis", "records.csv")[:3]
    (root / "cbis" / third["image"]).write_bytes(b"no image")
    with serving(root, order="id") as server:
        window.open(server.url)
        assert window.record == first["record_id"]
        window.until(
            lambda: window.run("return document.body.dataset.ahead") == second["record_id"]
        )
        (root / "cbis" / second["image"]).unlink()  # it is not asked for any more
        window.decide("a")
        assert (window.record, window.text("veil")) == (second["record_id"], "")
        window.press("3")
        window.until(lambda: "cannot be shown" in window.text("veil"))
        window.press("a")  # what nobody saw is not accepted
        window.press("x")
        window.until(lambda: third["record_id"] in table(root))
        window.settle()
        assert [table(root)[one["record_id"]] for one in (first, second, third)] == [
            ("accept", ""),
            ("reject", "tight"),
            ("reject", ""),
        ]


def test_other_keys_other_keyboards_and_blind(root, window):
    keys = {"accept": ["k", "b"], "reject": ["a"]}
    with serving(root, keys=keys, blind=True) as server:
        window.open(server.url)
        assert window.run("return page.pairs.some((p) => 'scores' in p)") is False
        for key, entry in (("k", ("accept", "")), ("a", ("reject", ""))):
            one = window.record
            window.decide(key)
            assert table(root)[one] == entry
        for key, code, entry in (
            ("и", "KeyB", ("accept", "")),
            ("&", "Digit1", ("reject", "oval")),
        ):
            one = window.record
            for kind in ("keyDown", "keyUp"):
                window.here().execute_cdp_cmd(
                    "Input.dispatchKeyEvent", {"type": kind, "key": key, "code": code}
                )
            window.until(lambda one=one: one in table(root))
            assert table(root)[one] == entry
            window.settle()
