"""BERT-like encoders: searched on a text of one's own, and compared with the same proxy on synthetic tokens."""

import json
import os
import tempfile
from pathlib import Path

import autoprox

TEXT = "a proxy reads gradients of a network that was never trained and guesses how good it will be\n" * 40


def main() -> None:
    """Everything is written to the current folder."""
    Path("text.txt").write_text(TEXT, encoding="utf-8")
    found = autoprox.search("snip", space="flexibert", text="text.txt", batch_size=2, evaluations=40, workers=1)
    print(found)
    models = [("flexibert", json.dumps(row["architecture"])) for row in found.records[:5]]
    for text in ("text.txt", None):
        scores = autoprox.score(models, "snip", text=text, batch_size=2, workers=1)
        values = ", ".join(f"{row['score']:.4g}" for row in scores.records)
        print(f"on {text or 'synthetic tokens'}: {values}")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        os.environ.setdefault("AUTOPROX_HOME", folder)
        os.chdir(folder)
        main()
