"""An operator of one's own in the proxy language: registered, scored by, and found in a discovery."""

import os
import sys
import tempfile

import torch

import autoprox
from autoprox.errors import InputError


def soft_sign(x: torch.Tensor) -> torch.Tensor:
    """Large elements count as one, small ones as they are."""
    return x / (1 + x.abs())


# At the top level of the script, so that worker processes know it too.
autoprox.register_operator("softsign", soft_sign, latex=r"\operatorname{{softsign}}\left({0}\right)", increasing=True)


def main(evaluations: int) -> None:
    """Everything is written to the current folder."""
    saliency = "sum(sum(softsign(abs(linear.weight * linear.grad))))"
    print(autoprox.search(saliency, space="pit-nano", max_params="20K", evaluations=16, workers=1))
    found = autoprox.discover(evaluations=evaluations, datasets="digits", spaces="pit-nano", workers=1)
    front = [row["expression"] for row in found.summary["front"]]
    print(found.proxy)
    print(f"{sum('softsign' in text for text in front)} of {len(front)} expressions on the front have softsign")
    # A file with an operator of one's own is read only where that is registered: the error names what is missing.
    autoprox.Proxy.load(saliency).save("mine.json")
    autoprox.forget("softsign")
    try:
        autoprox.Proxy.load("mine.json")
    except InputError as error:
        print(error)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        os.environ.setdefault("AUTOPROX_HOME", folder)
        os.chdir(folder)
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 100)
