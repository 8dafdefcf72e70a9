"""Draw the rooms of the three packages and their imports as a Mermaid flowchart, read from the code.

usage: import_graph.py [--write docs/architecture.md]

A room is a sub-package or a module at the top of a package. An arrow points from a room to one that it imports.
Arrows that follow from others are left out (transitive reduction), so that the picture shows the layers.
"""

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path

import grimp

ROOT = Path(__file__).parents[1]
PACKAGES = ("pipeline", "containers", "tasks")
BEGIN, END = "<!-- picture -->\n", "<!-- /picture -->"


def room_of(module: str) -> str:
    """Return the room of a module: `pipeline.run` of `pipeline.run.flow`."""
    return ".".join(module.split(".")[:2])


def imports_between_rooms() -> Mapping[str, frozenset[str]]:
    """Return the rooms that each room imports, without itself and without the packages themselves."""
    sys.path.insert(0, str(ROOT))  # the source, not an installed wheel
    graph = grimp.build_graph(*PACKAGES, cache_dir=None)
    arrows: dict[str, set[str]] = {}
    for module in sorted(graph.modules):
        if "." not in module:
            continue
        room = arrows.setdefault(room_of(module), set())
        room |= {room_of(name) for name in graph.find_modules_directly_imported_by(module) if "." in name}
    return {room: frozenset(targets - {room}) for room, targets in arrows.items()}


def reduced(arrows: Mapping[str, frozenset[str]]) -> Mapping[str, frozenset[str]]:
    """Return the arrows that do not follow from others; the graph has no cycles."""
    reach: dict[str, frozenset[str]] = {}

    def reachable(room: str) -> frozenset[str]:
        if room not in reach:
            reach[room] = arrows[room].union(*map(reachable, arrows[room]))
        return reach[room]

    return {
        room: targets - frozenset().union(*(reachable(target) for target in targets))
        for room, targets in arrows.items()
    }


def _node(room: str) -> str:
    return room.replace(".", "_")


def picture() -> str:
    """Return the flowchart as a fenced Mermaid block."""
    arrows = reduced(imports_between_rooms())
    lines = ["```mermaid", "flowchart TD"]
    for package in PACKAGES:
        inside = [room for room in sorted(arrows) if room.startswith(f"{package}.")]
        lines.append(f"  subgraph {package}")
        lines += [f"    {_node(room)}[{room.partition('.')[2]}]" for room in inside]
        lines.append("  end")
    for room in sorted(arrows):
        lines += [f"  {_node(room)} --> {_node(target)}" for target in sorted(arrows[room])]
    return "\n".join([*lines, "```", ""])


def main() -> None:
    """Print the picture, or put it into a page between its two marks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", type=Path, metavar="PAGE", help="replace the picture of this page")
    page = parser.parse_args().write
    if page is None:
        sys.stdout.write(picture())
        return
    before, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    page.write_text(before + BEGIN + picture() + END + rest.partition(END)[2], encoding="utf-8")


if __name__ == "__main__":
    main()
