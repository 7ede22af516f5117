"""What a person sees of a lane in Dagster's UI, looked at by a real browser; also makes the README's screenshots.

python tests/integration/browser.py http://127.0.0.1:3000 tiny docs/images data/laneb/tiny/report.html
"""

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
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


def show_timeline(at: Page, url: str, expect: str) -> str:
    """The first page; its text."""
    at.goto(url)
    at.locator("a", has_text=expect).first.wait_for(timeout=PATIENCE)
    return str(at.locator("body").inner_text())


def first_metadata(at: Page) -> tuple[str, str, bool]:
    """The first row of the metadata on an asset's page: key, value, and whether the table fits into its place."""
    table = at.locator("table", has_text="Timestamp").first
    key, _, value = table.locator("tr").nth(1).locator("> td").all_inner_texts()
    fits = table.evaluate("table => table.getBoundingClientRect().width <= table.parentElement.clientWidth + 1")
    return key.strip(), value.strip(), bool(fits)


def metadata_of_partition(at: Page, url: str, asset: str, partition: str) -> dict[str, str]:
    """What the page of an asset's partition shows of it when it is opened."""
    at.goto(f"{url}/assets/{asset}?view=partitions&partition={partition}")
    at.locator("table tr").first.wait_for(timeout=PATIENCE)
    cells = "row => [...row.cells].slice(0, 2).map(cell => cell.innerText.trim())"
    return dict(at.evaluate(f"[...document.querySelectorAll('table tr')].filter(r => r.cells.length > 1).map({cells})"))


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


@dataclass(frozen=True)
class SeenReport:
    """What a reader of report.html sees."""

    sentence: str
    scroll_width: int
    undecoded: list[str]
    """Pictures that did not decode, by their alternative text."""
    charts: int
    """Drawn by scripts."""
    pictures: int
    """Curves drawn, by scripts or without."""
    contrast: float
    """Of the text against the page, as WCAG counts it."""
    problems: list[str]
    requested: list[str]
    """Addresses that were asked of a network."""


_CONTRAST = """() => {
  const channel = (v) => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  const light = (color) => { const [r, g, b] = color.match(/\\d+/g).map(Number);
    return 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b); };
  const style = getComputedStyle(document.body), note = getComputedStyle(document.querySelector(".note"));
  const paper = light(style.backgroundColor);
  return Math.min(...[style, note].map((s) => light(s.color)).map((ink) =>
    (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05)));
}"""


def look_at_report(
    path: Path, *, width: int, scheme: Any, scripts: bool = True, shot: Path | None = None
) -> SeenReport:
    """Open the report in a window of a width, in a colour scheme."""
    problems: list[str] = []
    requested: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        at = browser.new_page(
            viewport={"width": width, "height": 900}, color_scheme=scheme, java_script_enabled=scripts
        )
        at.on("pageerror", lambda error: problems.append(str(error)))
        at.on("console", lambda said: problems.append(said.text) if said.type in ("error", "warning") else None)
        at.on("request", lambda asked: requested.append(asked.url) if asked.url.startswith("http") else None)
        at.goto(path.as_uri())
        if scripts:
            at.locator(".vega-embed svg").nth(1).wait_for(timeout=PATIENCE)
        images = at.locator("img")
        shown = [images.nth(number) for number in range(images.count())]
        seen = SeenReport(
            sentence=at.locator("#answer").inner_text(),
            scroll_width=at.evaluate("document.documentElement.scrollWidth"),
            undecoded=[str(i.get_attribute("alt")) for i in shown if not i.evaluate("image => image.naturalWidth")],
            charts=at.locator(".vega-embed").count(),
            pictures=at.locator(".chart svg.marks").count(),
            contrast=at.evaluate(_CONTRAST),
            problems=problems,
            requested=requested,
        )
        if shot is not None:
            at.screenshot(path=str(shot))
        browser.close()
    return seen


def main(url: str, experiment: str, folder: str, report: str) -> None:
    """Take the README's screenshots."""
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    with page() as at:
        at.goto(f"{url}/asset-groups")
        at.get_by_text("inference").first.wait_for(timeout=PATIENCE)
        at.wait_for_timeout(3000)
        at.screenshot(path=str(target / "graph.png"))
        show_asset(at, url, experiment, "lane_b_summary")
        at.wait_for_timeout(2000)
        at.screenshot(path=str(target / "summary.png"))
    look_at_report(Path(report), width=1000, scheme="light", shot=target / "report.png")


if __name__ == "__main__":
    main(*sys.argv[1:])
