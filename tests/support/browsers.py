"""The Chromium of the tests, and what of a page they look at: where things stand, not what colour they have."""

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from playwright.sync_api import Page

NONE = "no Chromium is installed"
"""Begins the reason of every test that was left out for want of one."""
REQUIRED = "PATCHYARD_REQUIRE_BROWSER"
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
PICTURES = "PATCHYARD_PICTURES"
"""Names a directory that the pictures of the documentation are written to."""


def executable() -> str | None:
    """Return the browser's path; `None` where there is none."""
    return next(filter(None, map(shutil.which, NAMES)), None)


def arguments() -> Sequence[str]:
    """Return what the browser has to be told: as root it does not start with its own sandbox."""
    return ["--no-sandbox", "--disable-dev-shm-usage"] if os.geteuid() == 0 else ["--disable-dev-shm-usage"]


@dataclass(frozen=True)
class Box:
    """Where something stands on the page, in pixels."""

    name: str
    left: float
    right: float
    top: float
    bottom: float

    @property
    def width(self) -> float:
        """How wide it is."""
        return self.right - self.left

    def inside(self, other: "Box", slack: float = 1.0) -> bool:
        """Whether it stands in another one, but for rounding."""
        return (
            self.left >= other.left - slack
            and self.right <= other.right + slack
            and self.top >= other.top - slack
            and self.bottom <= other.bottom + slack
        )


def boxes(page: "Page", selector: str, name: str = "id") -> list[Box]:
    """Return where the elements of a selector stand, named by one of their attributes."""
    found: list[dict[str, Any]] = page.evaluate(
        """([selector, name]) => [...document.querySelectorAll(selector)].map((one) => {
            const box = one.getBoundingClientRect();
            return {name: one.getAttribute(name) || "", left: box.left, right: box.right,
                    top: box.top + scrollY, bottom: box.bottom + scrollY};
        })""",
        [selector, name],
    )
    return [Box(**one) for one in found]


def bars_of_lanes(page: "Page") -> dict[str, list[Box]]:
    """Return the bars of every lane, by the lane's id, from left to right."""
    lanes: dict[str, list[Box]] = {}
    for lane in boxes(page, "#lanes .lane"):
        own = boxes(page, f"[id='{lane.name}'] .bar")
        assert all(bar.inside(lane) for bar in own), f"a bar leaves {lane}: {own}"
        lanes[lane.name] = sorted(own, key=lambda bar: bar.left)
    return lanes


def check_structure(page: "Page") -> None:
    """Fail unless the picture is one: nothing overlaps, and every part stands in what it is a part of."""
    (track,) = boxes(page, ".track", "class")
    for bars in bars_of_lanes(page).values():
        assert all(bar.left >= track.left - 1 and bar.right <= track.right + 1 for bar in bars)
        for one, other in pairwise(bars):
            assert one.right <= other.left + 1.5, f"{one} and {other} overlap"
        for bar in bars:
            marks = boxes(page, f"[id='{bar.name}'] .mark", "data-kind")
            assert all(mark.inside(bar, 2.0) for mark in marks), f"a step leaves {bar}: {marks}"
            assert marks == sorted(marks, key=lambda mark: mark.left)
    ticks = boxes(page, "#ticks span", "style")
    gaps = {round(other.left - one.left) for one, other in pairwise(ticks)}
    assert not gaps or max(gaps) - min(gaps) <= 1, f"the axis is uneven: {ticks}"


def picture(page: "Page", name: str, scratch: Path) -> Path:
    """Take a screenshot of what the window shows; where pictures are asked for, it goes there too."""
    path = scratch / f"{name}.png"
    page.screenshot(path=path)
    if directory := os.environ.get(PICTURES):
        shutil.copyfile(path, Path(directory) / path.name)
    return path
