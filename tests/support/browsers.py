"""Chromium for the browser tests, and the positions of elements on a page."""

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from playwright.sync_api import Page

NONE = "no Chromium is installed"
"""Prefix of the skip reason of tests that need it."""
REQUIRED = "PATCHYARD_REQUIRE_BROWSER"
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
PICTURES = "PATCHYARD_PICTURES"
"""Environment variable: the directory for the screenshots of the documentation."""


def executable() -> str | None:
    """Return the path of the browser, or `None` if none is installed."""
    return next(filter(None, map(shutil.which, NAMES)), None)


def arguments() -> Sequence[str]:
    """Return the arguments of the browser. Its sandbox does not work for root."""
    return ["--no-sandbox", "--disable-dev-shm-usage"] if os.geteuid() == 0 else ["--disable-dev-shm-usage"]


@dataclass(frozen=True)
class Box:
    """Position of an element on the page, in pixels."""

    name: str
    left: float
    right: float
    top: float
    bottom: float

    @property
    def width(self) -> float:
        """Width of the element."""
        return self.right - self.left

    def inside(self, other: "Box", slack: float = 1.0) -> bool:
        """Whether this box is inside another one, apart from rounding."""
        return (
            self.left >= other.left - slack
            and self.right <= other.right + slack
            and self.top >= other.top - slack
            and self.bottom <= other.bottom + slack
        )


def boxes(page: "Page", selector: str, name: str = "id") -> list[Box]:
    """Return the boxes of the elements that match a selector, named by one of their attributes."""
    found: list[dict[str, Any]] = page.evaluate(
        """([selector, name]) => [...document.querySelectorAll(selector)].map((one) => {
            const box = one.getBoundingClientRect();
            return {name: one.getAttribute(name) || "", left: box.left, right: box.right,
                    top: box.top + scrollY, bottom: box.bottom + scrollY};
        })""",
        [selector, name],
    )
    return [Box(**one) for one in found]


@dataclass(frozen=True)
class Picture:
    """Positions of the elements of a timeline at one moment; a live timeline moves."""

    track: Box
    lanes: Mapping[str, Box]
    bars: Mapping[str, list[Box]]  # by lane, from left to right
    marks: Mapping[str, list[Box]]  # by bar
    ticks: list[Box]

    @classmethod
    def of(cls, page: "Page") -> Self:
        """Read the positions from a page, in one evaluation."""
        found: dict[str, Any] = page.evaluate(
            """() => {
                const box = (one, name) => {
                    const found = one.getBoundingClientRect();
                    return {name, left: found.left, right: found.right, top: found.top + scrollY,
                            bottom: found.bottom + scrollY};
                };
                const all = (root, selector) => [...root.querySelectorAll(selector)];
                const lanes = all(document, "#lanes .lane");
                const bars = all(document, "#lanes .bar");
                return {
                    track: box(document.querySelector(".track"), "track"),
                    lanes: lanes.map((lane) => box(lane, lane.id)),
                    bars: lanes.map((lane) => [lane.id, all(lane, ".bar").map((bar) => box(bar, bar.id))]),
                    marks: bars.map((bar) => [
                        bar.id, all(bar, ".mark").map((one) => box(one, one.dataset.kind)),
                    ]),
                    ticks: all(document, "#ticks span").map((tick) => box(tick, tick.textContent)),
                };
            }"""
        )
        bars = {name: [Box(**one) for one in own] for name, own in found["bars"]}
        return cls(
            track=Box(**found["track"]),
            lanes={one["name"]: Box(**one) for one in found["lanes"]},
            bars={name: sorted(own, key=lambda bar: bar.left) for name, own in bars.items()},
            marks={name: [Box(**one) for one in own] for name, own in found["marks"]},
            ticks=[Box(**one) for one in found["ticks"]],
        )


def check_structure(page: "Page") -> Picture:
    """Check that bars do not overlap and that every part is inside its container, and return the positions."""
    seen = Picture.of(page)
    for lane, bars in seen.bars.items():
        assert all(bar.inside(seen.lanes[lane]) for bar in bars), f"a bar leaves {lane}: {bars}"
        assert all(bar.left >= seen.track.left - 1 and bar.right <= seen.track.right + 1 for bar in bars)
        for one, other in pairwise(bars):
            assert one.right <= other.left + 1.5, f"{one} and {other} overlap"
        for bar in bars:
            marks = seen.marks[bar.name]
            assert all(mark.inside(bar, 2.0) for mark in marks), f"a step leaves {bar}: {marks}"
            assert marks == sorted(marks, key=lambda mark: mark.left)
    gaps = {round(other.left - one.left) for one, other in pairwise(seen.ticks)}
    assert not gaps or max(gaps) - min(gaps) <= 1, f"the axis is uneven: {seen.ticks}"
    return seen


def picture(page: "Page", name: str, scratch: Path, *, documented: bool = False) -> Path:
    """Take a screenshot of the window; with `documented`, also copy it to the directory in `PICTURES`."""
    path = scratch / f"{name}.png"
    page.screenshot(path=path)
    if documented and (directory := os.environ.get(PICTURES)):
        shutil.copyfile(path, Path(directory) / path.name)
    return path
