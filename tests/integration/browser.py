"""What a person sees of a lane in Dagster's UI, looked at by a real browser; also makes the README's screenshots.

python tests/integration/browser.py http://127.0.0.1:3000 tiny docs/images
"""

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, sync_playwright

FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
PATIENCE = 60_000


@contextmanager
def page() -> Iterator[Page]:
    """A page in Debian's chromium."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        yield browser.new_page(viewport={"width": 1600, "height": 900})
        browser.close()


def show_group(at: Page, url: str, location: str, group: str, expect: str) -> None:
    """The lineage of an asset group."""
    at.goto(f"{url}/locations/__repository__@{location}/asset-groups/{group}")
    at.get_by_text(expect).first.wait_for(timeout=PATIENCE)


def show_asset(at: Page, url: str, experiment: str, asset: str) -> None:
    """The page of an asset."""
    at.goto(f"{url}/assets/{experiment}/{asset}")
    at.get_by_text("Latest materialization").first.wait_for(timeout=PATIENCE)


def open_plot(at: Page, row: int = 0) -> list[Any]:
    """Open a plot of the asset's metadata; gives [start of source, natural width] of the images on the page."""
    at.get_by_text("Show Markdown").nth(row).click(timeout=PATIENCE)
    at.locator("img[src^='data:image/png']").first.wait_for(timeout=PATIENCE)
    found: list[Any] = at.evaluate(
        "[...document.querySelectorAll('img')].map(image => [image.src.slice(0, 22), image.naturalWidth])"
    )
    return found


def open_materialize_all(at: Page) -> None:
    """The dialog that asks what "Materialize all" may run."""
    at.get_by_role("button", name="Materialize all").first.click(timeout=PATIENCE)


def main(url: str, experiment: str, folder: str) -> None:
    """Take the README's screenshots."""
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    with page() as at:
        at.goto(f"{url}/asset-groups")
        at.get_by_text("inference").first.wait_for(timeout=PATIENCE)
        at.wait_for_timeout(3000)
        at.screenshot(path=str(target / "graph.png"))
        show_asset(at, url, experiment, "lane_b_summary")
        at.get_by_text("Show Markdown").last.click(timeout=PATIENCE)
        at.wait_for_timeout(2000)
        at.screenshot(path=str(target / "summary.png"))


if __name__ == "__main__":
    main(*sys.argv[1:])
