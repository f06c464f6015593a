"""The pipelines' page as a person uses it, in a headless browser."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Page, expect, sync_playwright

LOOK_MS = 20_000
# A browser of the system's serves where playwright's own is not installed.
BROWSER = (
    os.environ.get("BROWSER_PATH") or shutil.which("chromium") or shutil.which("google-chrome")
)


@contextmanager
def browser_page(url: str) -> Iterator[PipelinesPage]:
    """Opens the page.

    Args:
        url: UI_URL.
    """
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=BROWSER, args=["--no-sandbox", "--no-proxy-server"]
        )
        try:
            page = browser.new_page(viewport={"width": 1600, "height": 1200})
            page.set_default_timeout(LOOK_MS)
            yield PipelinesPage(page, url)
        finally:
            browser.close()


class PipelinesPage:
    """What a person does there.

    Args:
        page: The browser's.
        url: Where the page is.
    """

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.url = url.rstrip("/")

    def shot(self, path: Path) -> None:
        """Takes a picture of what is seen."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=str(path))

    def upload(self, package: Path, name: str) -> None:
        """Uploads a package as a new pipeline; ends on the pipeline's own page."""
        page = self.page
        page.goto(f"{self.url}/#/pipelines")
        page.get_by_role("button", name="Upload pipeline").click()
        page.locator("#localPackageBtn").click()
        page.locator("input[type=file]").set_input_files(str(package))
        page.locator("#newPipelineName").fill(name)
        page.locator("#createNewPipelineOrVersionBtn").click()
        page.wait_for_url(re.compile(r"#/pipelines/details/"))
        expect(page.locator(".react-flow__node").first).to_be_visible()

    def open_form(self) -> None:
        """Goes on to the form of a new run."""
        self.page.get_by_role("button", name="Create run").click()
        expect(self.page.locator("#startNewRunBtn")).to_be_visible()

    def fields(self) -> dict[str, str]:
        """The form's parameters with the values that stand in them; types by `labels`."""
        found = self.page.locator("input[id], textarea[id]").all()
        return {
            str(field.get_attribute("id")): field.input_value()
            for field in found
            if re.fullmatch(r"[a-z_]+", str(field.get_attribute("id")))
        }

    def labels(self) -> list[str]:
        """What stands over the fields, `name - type`."""
        return [text for text in self.page.locator("label").all_inner_texts() if " - " in text]

    def start(self, values: Mapping[str, str], run_name: str, experiment: str) -> str:
        """Fills the form in and starts the run; returns the run's id."""
        page = self.page
        page.locator("#chooseExperimentBtn").click()
        page.get_by_role("dialog").get_by_text(experiment, exact=True).click()
        page.locator("#useExperimentBtn").click()
        page.locator("label:has-text('Run name') + div input").fill(run_name)
        for name, value in values.items():
            page.locator(f"[id='{name}']").fill(value)
        page.locator("#startNewRunBtn").click()
        page.wait_for_url(re.compile(r"#/runs/details/"))
        return page.url.rsplit("/", 1)[1]

    def open_run(self, run_id: str) -> None:
        """Opens a run's page."""
        self.page.goto(f"{self.url}/#/runs/details/{run_id}")
        expect(self.page.locator(".react-flow__node").first).to_be_visible()

    def fit(self) -> None:
        """Brings the whole graph into view."""
        self.page.locator(".react-flow__controls-fitview").click()
        self.page.wait_for_timeout(1000)  # it moves there slowly

    def open_node(self, name: str) -> None:
        """Opens a step or an artifact of the run beside the graph."""
        # So wide that the whole graph is seen: what lies outside cannot be clicked.
        self.page.set_viewport_size({"width": 5000, "height": 1500})
        self.fit()
        self.page.locator(".react-flow__node", has_text=name).first.click()

    def tab(self, name: str) -> None:
        """Turns to a tab of what is open beside the graph."""
        self.page.get_by_role("button", name=name).first.click()
