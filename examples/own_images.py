"""From a folder of images, a folder for each class, to a network that was searched for them and trained on them."""

import os
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

import autoprox


def draw(folder: Path, each: int = 40) -> None:
    """Images that stand for yours: stripes of three directions, with noise."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:32, :32]
    for name, wave in (("across", x), ("down", y), ("slanting", x + y)):
        (folder / name).mkdir(parents=True)
        for number in range(each):
            grey = 128 + 80 * np.sin(wave / rng.uniform(1.5, 2.5) + rng.uniform(0, 6)) + rng.normal(0, 20, (32, 32))
            Image.fromarray(grey.clip(0, 255).astype(np.uint8)).convert("RGB").save(folder / name / f"{number}.png")


def main(images: Path) -> None:
    """Everything is written to the current folder."""
    found = autoprox.search(
        "snip", space="pit-nano", dataset=images, max_params="20K", evaluations=100, batch_size=8, workers=1
    )
    print(found)
    trained = autoprox.train(found.out, images, epochs=3, batch_size=16, out="trained")
    print(f"test accuracy after {len(trained.epochs)} epochs: {trained.test_accuracy:.1f} %; weights in trained/")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        os.environ.setdefault("AUTOPROX_HOME", folder)
        given = Path(sys.argv[1]).absolute() if len(sys.argv) > 1 else None
        os.chdir(folder)
        if given is None:
            draw(given := Path(folder) / "stripes")
        main(given)
