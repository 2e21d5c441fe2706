"""`python -m tests.performance [--quick] [PART ...]`: measure, show, keep, and at full size make the page."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from tests.performance import discovering, figures, searching, small

PARTS = ("small", "workers", "search", "discovery", "growth")

if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; all without any")
    arguments.add_argument(
        "--quick", action="store_true", help="small sizes: shows that it runs, says nothing about speed"
    )
    given = arguments.parse_args()
    quick = given.quick
    parts = given.parts or PARTS
    if unknown := set(parts) - set(PARTS):
        arguments.error(f"there is no part {sorted(unknown)[0]!r}; there are {', '.join(PARTS)}")
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        if "small" in parts:
            small.details(home, quick)
        if "workers" in parts:
            small.two_workers(home, 2 if quick else 12, 1 if quick else 3, quick)
        if "search" in parts:
            searching.search(home, 1 if quick else 10, quick)
        if "discovery" in parts:
            discovering.throughput(home, 10 if quick else 60, 200 if quick else 4000, 2 if quick else 20, quick)
            discovering.screening(home, 10 if quick else 60, 20 if quick else 300, quick)
        if "growth" in parts:
            counts = [5, 10] if quick else [25, 50, 100, 200]
            steps = [200, 400] if quick else [500, 1000, 2000, 5000, 10_000, 20_000, 50_000]
            discovering.growth(home / "growth", counts, steps, quick)
    if not quick:
        figures.page()
