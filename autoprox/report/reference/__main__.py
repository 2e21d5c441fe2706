"""`python -m autoprox.report.reference [FOLDER]`: write the pages of the reference."""

from __future__ import annotations

import sys
from pathlib import Path

from autoprox.files import write_text
from autoprox.report.reference import pages

folder = Path(sys.argv[1] if len(sys.argv) > 1 else "docs/reference")
folder.mkdir(parents=True, exist_ok=True)
for name, text in pages().items():
    write_text(folder / name, text)
