"""Discover a proxy, search with it within a budget, score and train what was found: the whole chain on small numbers."""

import os
import sys
import tempfile

import autoprox


def main(evaluations: int) -> None:
    """Everything is written to the current folder."""
    found = autoprox.discover(evaluations=evaluations, spaces="pit-nano", datasets="digits", workers=1)
    print(found)
    winner = autoprox.search(found.proxy, max_params="20K", evaluations=100, workers=1)
    print(winner)
    print(f"SNIP says {autoprox.score(winner, 'snip'):.4g} of it")
    trained = autoprox.train(winner.out, "digits", epochs=1)
    print(f"test accuracy after one epoch: {trained.test_accuracy:.1f} %")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        os.environ.setdefault("AUTOPROX_HOME", folder)
        os.chdir(folder)
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 200)
