"""The pages in a headless Chromium: clicks, keys, both colour schemes, a phone's width, an empty console."""

import os
import shutil

import pytest
from report_pages import HOSTILE, write_run_page
from selenium import webdriver

BROWSERS = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="module")
def driver():
    from selenium.webdriver.chrome.service import Service

    browser, tool = next(filter(None, map(shutil.which, BROWSERS)), None), shutil.which("chromedriver")
    if browser is None or tool is None:
        missing = "no Chromium with its driver; on Debian: apt-get install chromium chromium-driver"
        if os.environ.get("CMLM_KD_BROWSER") == "required":  # as in CI, which has installed one
            pytest.fail(missing)
        pytest.skip(missing)  # a contributor need not have a browser; what pages say is tested without one
    options = webdriver.ChromeOptions()
    options.binary_location = browser
    # Without the sandbox, because in containers tests are root, for whom there is none; the page is our own.
    for flag in (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--hide-scrollbars",
    ):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(tool))
    yield driver
    driver.quit()


class Page:
    """A page that is open, and what is asked of it."""

    def __init__(self, driver, path, width=1200, scheme="light"):
        self.driver = driver
        media = [{"name": "prefers-color-scheme", "value": scheme}]
        driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": media})
        metrics = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 600}
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        driver.get(path.as_uri())

    def __call__(self, script, *arguments):
        return self.driver.execute_script(script, *arguments)

    def one(self, selector):
        return self.driver.find_element("css selector", selector)

    def text(self, selector):
        return self(f"return document.querySelector({selector!r}).textContent")

    def ground(self):
        """Return the brightness of the background, 0 to 255."""
        colour = self("return getComputedStyle(document.body).backgroundColor")
        return sum(map(int, colour.removeprefix("rgb(").removesuffix(")").split(","))) / 3

    def check_quiet(self):
        """Nothing was complained of, nothing loaded, nothing that was text has run, nothing is too wide."""
        assert self.driver.get_log("browser") == []
        assert self("return performance.getEntriesByType('resource').length") == 0
        assert self("return window.hacked") is None
        assert self("return document.documentElement.scrollWidth <= window.innerWidth")


@pytest.fixture(scope="module")
def run_page(tmp_path_factory):
    return write_run_page(tmp_path_factory.mktemp("page"))


def test_soft_targets_by_mouse_and_by_keys(driver, run_page):
    from selenium.webdriver.common.keys import Keys
    from selenium.webdriver.support.ui import Select

    page = Page(driver, run_page)
    assert page.text("#source") == f"Quelle 1 {HOSTILE}"
    assert page.text("#said").startswith("The reference goes on with “▁one”: teacher 70.0 %, alone@1 60.0 %")
    assert HOSTILE in page.text("#entries")
    Select(page.one("#sentence")).select_by_index(1)
    assert page.text("#source") == f"Quelle 8 {HOSTILE}" and "▁eight" in page.text("#said")
    page.one("#next").click()
    assert page.text("#source") == f"Quelle 15 {HOSTILE}" and page.one("#next").get_property("disabled")
    page.one("#previous").click()
    page.one("#previous").click()

    tokens = driver.find_elements("css selector", ".token")
    tokens[1].click()
    assert "▁two" in page.text("#said") and "not among its best" not in page.text("#said")
    assert [token.get_attribute("aria-checked") for token in tokens] == ["false", "true", "false"]
    driver.switch_to.active_element.send_keys(Keys.ARROW_RIGHT)
    assert "end of sentence" in page.text("#said") and driver.switch_to.active_element == tokens[2]
    driver.switch_to.active_element.send_keys(Keys.ARROW_RIGHT)
    assert "▁one" in page.text("#said") and driver.switch_to.active_element == tokens[0]
    driver.switch_to.active_element.send_keys(Keys.END)
    assert driver.switch_to.active_element == tokens[2]
    assert page("return document.querySelectorAll('#tokens [tabindex=\"0\"]').length") == 1
    page.check_quiet()


def test_translations_are_sorted_found_and_of_any_run(driver, run_page):
    from selenium.webdriver.support.ui import Select

    page = Page(driver, run_page)
    visible = (
        "return [...document.querySelectorAll('.example:not([hidden]) h3')].map((each) => each.textContent)"
    )
    assert len(page(visible)) == 10 and page.text("#found") == "10 of 20 shown"
    page.one("#more").click()
    assert len(page(visible)) == 20 and not page.one("#more").is_displayed()

    order = Select(page.one("#order"))
    order.select_by_visible_text("taught far above alone first")
    gains = "return [...document.querySelectorAll('.example')].map(({dataset}) => JSON.parse(dataset.scores))"
    found = [scores[1] - scores[0] for scores in page(gains)]
    assert found == sorted(found, reverse=True) and found[0] > found[-1]
    order.select_by_visible_text("taught far below alone first")
    found = [scores[1] - scores[0] for scores in page(gains)]
    assert found == sorted(found)
    order.select_by_index(0)
    assert page(visible)[0] == "Sentence 1"

    words = "return document.querySelector('.translation:not([hidden]) dt').textContent"
    assert page(words).strip() == "alone@1"
    Select(page.one("#run")).select_by_index(1)
    assert page(words).strip() == "alone@2"

    page.one("#find").send_keys("number 23")
    assert page(visible) == ["Sentence 24"]
    missing = "return getComputedStyle(document.querySelector('.example del')).display"
    assert page(missing) == "inline"
    page.one("#missing").click()
    assert page(missing) == "none"
    page.check_quiet()


def test_curves_are_read_by_keys_and_hidden_by_their_names(driver, run_page):
    from selenium.webdriver.common.keys import Keys

    page = Page(driver, run_page)
    chart = page.one(".chart")
    page("arguments[0].focus()", chart)
    driver.switch_to.active_element.send_keys(Keys.ARROW_RIGHT)
    assert page.text(".chart .readout") == "alone@1: 10 after 100 updates"
    driver.switch_to.active_element.send_keys(Keys.ARROW_LEFT)
    assert page.text(".chart .readout").startswith(f"{HOSTILE}@2")
    page.one('.toggle[data-student="0"]').click()
    page("arguments[0].focus()", chart)
    driver.switch_to.active_element.send_keys(Keys.ARROW_RIGHT)
    assert page.text(".chart .readout").startswith("taught@1")
    assert not page.one('.series[data-student="0"]').is_displayed()
    page.check_quiet()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_a_phone_nothing_scrolls_sideways(driver, run_page, scheme):
    page = Page(driver, run_page, width=360, scheme=scheme)
    assert (page.ground() < 60) == (scheme == "dark")
    assert page("return document.documentElement.scrollWidth") == 360
    page.one("details summary").click()
    page.one("#more").click()
    page.check_quiet()
    heights = "return [...document.querySelectorAll('button, select')].map((each) => each.offsetHeight)"
    assert all(height == 0 or height >= 32 for height in page(heights)), "too small for a finger"


def test_the_reader_chooses_the_colours_and_they_stay(driver, run_page):
    page = Page(driver, run_page)
    assert page.ground() > 200
    button = page.one("#scheme")
    button.click()
    assert page.ground() > 200 and button.text == "Colours: light"
    button.click()
    assert page.ground() < 60 and button.text == "Colours: dark"
    page = Page(driver, run_page)
    assert page.ground() < 60 and page.one("#scheme").text == "Colours: dark"
    page.one("#scheme").click()
    assert page.ground() > 200
    page.check_quiet()


def test_even_a_script_that_was_put_into_the_page_would_not_run(driver, run_page):
    page = Page(driver, run_page)
    page(
        "const script = document.createElement('script');"
        "script.textContent = 'window.hacked = 2';"
        "document.body.append(script)"
    )
    assert page("return window.hacked") is None
    (said,) = driver.get_log("browser")
    assert "Content Security Policy" in said["message"]


def test_the_threshold_of_early_exits_is_chosen_by_keys(driver, tmp_path):
    import numpy as np
    from selenium.webdriver.common.keys import Keys

    from cmlm_kd.early_exit.calibration import ExitCurve
    from cmlm_kd.early_exit.choices import ExitChoice
    from cmlm_kd.evaluation.page.exits_page import exits_page

    curve = ExitCurve(
        np.array([0, 0.5, 1]),
        np.array([0.9, 0.8, 0.7]),
        np.array([1.0, 2, 3]),
        np.array([[0, 0, 10], [5, 0, 5], [10, 0, 0]]),
    )
    choice = ExitChoice("speed 0.5", 0.8, 3e6, 2.0, 0.5, (5, 0, 5))
    path = tmp_path / "exits.html"
    path.write_text(exits_page(curve, [choice], choice, source=HOSTILE, signature=None), encoding="utf-8")
    page = Page(driver, path, width=360)
    assert page.text("#said").startswith("Threshold 0.5: accuracy 80.00 %, 2.00 times")
    assert "layer 150.0 %layer 20 %layer 350.0 %" in page.text("#layers")
    before = page("return document.querySelector('.here').getAttribute('cx')")
    page.one("#threshold").send_keys(Keys.ARROW_RIGHT)
    assert page.text("#said").startswith("Threshold 1: accuracy 70.00 %, 3.00 times")
    assert "layer 1100.0 %layer 20 %" in page.text("#layers")
    assert page("return document.querySelector('.here').getAttribute('cx')") != before
    page.check_quiet()
