"""The report in a real browser: sorted, filtered, by keyboard, on paper, without scripts."""

from __future__ import annotations

import base64

import pytest

from bcseg import pairs
from bcseg.pairs import PROBLEM_COLUMNS
from bcseg.report import report
from browser import chromium, emulate, resize
from reporting import ONE, dataset, score, write


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with chromium(tmp_path_factory.mktemp("chromium")) as driver:
        yield driver


@pytest.fixture
def opened(browser, tmp_path):
    """Return a browser with the report of two datasets, four of whose five pairs have scores."""
    first = dataset(tmp_path, ["a", "b", "c"], "mine")
    second = dataset(tmp_path, ["d", "e"], "other")
    score(first, [("a", "0.9", ""), ("b", "0.1", "oval loose"), ("c", "0.5", "oval")])
    score(second, [("d", "0.3", "leak")])
    words = ("mine", "c", "warning", "lesion_clipped", "9 pixels outside", "c.png")
    write(
        first.path / pairs.PROBLEMS,
        PROBLEM_COLUMNS,
        [dict(zip(PROBLEM_COLUMNS, words, strict=True))],
    )
    report([first, second], tmp_path / "report.html", ONE)
    browser.get((tmp_path / "report.html").as_uri())
    return browser


def order(browser):
    """Return the ids of the pairs that are visible, in order."""
    return browser.execute_script(
        "return [...document.querySelectorAll('#cards article')]"
        ".filter(card => card.offsetParent).map(card => card.querySelector('h3').textContent)"
    )


def said(browser):
    """Return the values by which the pairs are sorted, as the cards tell them."""
    return [one.text for one in browser.find_elements("css selector", "#cards .by")]


def choose(browser, name, value):
    from selenium.webdriver.support.ui import Select

    field = browser.find_element("name", name)
    if field.tag_name == "select":
        Select(field).select_by_value(value)
    else:
        field.send_keys(value)


def test_the_page_opens_from_the_disk_without_a_complaint(opened):
    assert order(opened) == ["b", "d", "c", "a", "e"]
    assert opened.get_log("browser") == []
    assert opened.execute_script("return performance.getEntriesByType('resource').length") == 0
    wide = "return document.documentElement.scrollWidth <= innerWidth"
    assert opened.execute_script(wide)
    decoded = opened.execute_script(
        "return Promise.all([...document.querySelectorAll('image')].map(async one => {"
        "const image = new Image(); image.src = one.getAttribute('href');"
        "await image.decode(); return image.naturalWidth * 4 === one.width.baseVal.value; }))"
    )
    assert decoded == [True] * 10


def test_pairs_are_sorted_by_any_score(opened):
    choose(opened, "direction", "best")
    assert order(opened) == ["a", "c", "d", "b", "e"]
    assert not opened.find_element("css selector", "#cards .by").is_displayed()  # a bar shows it
    choose(opened, "by", "solidity")  # high where the rank is low, and worse so
    assert order(opened) == ["a", "c", "d", "b", "e"]
    assert said(opened) == ["solidity 0.1", "solidity 0.5", "solidity 0.7", "solidity 0.9", ""]
    choose(opened, "direction", "")
    assert order(opened) == ["b", "d", "c", "a", "e"]
    choose(opened, "by", "mask_pixels")
    directions = opened.find_elements("css selector", "[name=direction] option")
    assert [one.text for one in directions] == ["lowest first", "highest first"]
    choose(opened, "direction", "best")
    assert order(opened)[:1] == ["c"]


def test_pairs_are_filtered(opened):
    from selenium.webdriver.common.keys import Keys

    choose(opened, "dataset", "mine")
    assert order(opened) == ["b", "c", "a"]
    choose(opened, "mark", "none")
    assert order(opened) == ["a"]
    choose(opened, "mark", "oval")
    assert order(opened) == ["b", "c"]
    choose(opened, "text", "Person2")
    assert order(opened) == ["c"]
    assert opened.find_element("name", "count").text == "1 of 5 pairs"
    choose(opened, "text", " nobody")
    assert order(opened) == []
    opened.find_element("id", "again").send_keys(Keys.ENTER)
    assert order(opened) == ["b", "d", "c", "a", "e"]
    choose(opened, "mark", "problem:lesion_clipped")
    choose(opened, "kind", "mass")
    assert order(opened) == ["c"]


def test_a_problem_leads_to_its_pair_even_when_it_is_filtered_away(opened):
    from selenium.webdriver.support.ui import WebDriverWait

    choose(opened, "mark", "leak")
    assert order(opened) == ["d"]
    opened.find_element("link text", "c").click()
    WebDriverWait(opened, 20).until(
        lambda _: "c" in order(opened)
    )  # a hash changes in its own time
    top = "return document.querySelector(location.hash).getBoundingClientRect().top"
    assert 0 <= opened.execute_script(top) < 768


def test_the_page_is_used_by_the_keyboard(opened):
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    def press(*keys):
        ActionChains(opened).send_keys(*keys).perform()
        return opened.switch_to.active_element

    assert press("j").text == "b"
    assert press("j").text == "d"
    assert press("k").text == "b"
    assert press("/").get_attribute("name") == "text"
    press("other")
    assert order(opened) == ["d", "e"]
    assert press(Keys.ESCAPE).tag_name == "body"


def test_the_page_is_read_without_scripts(browser, opened):
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        browser.refresh()
        shown = [one.text for one in browser.find_elements("css selector", "article h3")]
        assert shown == ["b", "d", "c", "a", "e"]
        assert not browser.find_element("id", "controls").is_displayed()
        assert not browser.find_element("id", "none").is_displayed()
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


CONTRAST = """
const parse = text => text.match(/[\\d.]+/g).map(Number);
const light = c => { const [r, g, b] = c.map(v => { v /= 255;
  return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; });
  return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
const ground = node => { for (; node; node = node.parentElement) {
  const c = parse(getComputedStyle(node).backgroundColor);
  if (c.length < 4 || c[3] > 0.9) return c.slice(0, 3); } return [255, 255, 255]; };
const poor = [];
for (const node of document.querySelectorAll('body *')) {
  const own = [...node.childNodes].some(n => n.nodeType === 3 && n.textContent.trim());
  if (!own || !node.getClientRects().length || /^(SCRIPT|STYLE)$/.test(node.tagName)) continue;
  const style = getComputedStyle(node);
  const ink = node.closest('svg') ? style.fill : style.color;
  const [a, b] = [light(parse(ink).slice(0, 3)), light(ground(node))];
  const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  if (ratio < 4.5) poor.push([node.outerHTML.slice(0, 80), ratio]);
}
return poor;
"""


@pytest.mark.parametrize("medium", ["screen", "print"])
@pytest.mark.parametrize("light", [False, True])
def test_every_word_has_enough_contrast(opened, medium, light):
    """WCAG 2.2, 1.4.3 (AA): a ratio of 4.5."""
    from selenium.webdriver.common.keys import Keys

    if light:
        opened.find_element("id", "light").send_keys(Keys.SPACE)
    emulate(opened, medium)
    try:
        assert opened.execute_script(CONTRAST) == []
        ground = "return getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)"
        assert (sum(opened.execute_script(ground)) > 3 * 128) == (light or medium == "print")
    finally:
        emulate(opened)


@pytest.mark.parametrize(("width", "height"), [(360, 640), (1366, 768), (3840, 2160)])
def test_nothing_is_wider_than_the_window(opened, width, height):
    resize(opened, width, height)
    try:
        opened.execute_script("document.querySelectorAll('details').forEach(one => one.open = 1)")
        assert opened.execute_script("return document.documentElement.scrollWidth") <= width
        overlong = opened.execute_script(
            "return [...document.querySelectorAll('.card *')]"
            ".filter(one => one.getBoundingClientRect().right > innerWidth + 1)"
            ".map(one => one.outerHTML.slice(0, 80))"
        )
        assert overlong == []
    finally:
        resize(opened, 1366, 768)


def test_pairs_are_not_cut_by_a_page_of_paper(opened):
    paper = opened.execute_cdp_cmd("Page.printToPDF", {"paperWidth": 8.27, "paperHeight": 11.69})
    data = base64.b64decode(paper["data"])
    assert data.startswith(b"%PDF")
    assert 2 <= data.count(b"/Type /Page\n") <= 4
    style = "return getComputedStyle(document.querySelector('.card')).breakInside"
    emulate(opened, "print")
    try:
        assert opened.execute_script(style) == "avoid"
        assert not opened.find_element("id", "controls").is_displayed()
    finally:
        emulate(opened)
