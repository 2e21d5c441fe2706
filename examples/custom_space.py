"""A search space of one's own: a family with other choices, registered under a name, searched in, and its winner built."""

import os
import tempfile

import torch

import autoprox
from autoprox.spaces import AutoFormerSubSpace

# At the top level of the script, so that worker processes know it too.
autoprox.register_space(
    AutoFormerSubSpace(
        name="my-vit",
        description="small vision transformers for images of 32 px",
        embed_dims=(32, 48, 64),
        heads=(2, 4),
        mlp_ratios=(1.0, 2.0),
        depths=(2, 3, 4),
        patch_sizes=(4, 8),
        image_size=32,
        classes=10,
    )
)


def main() -> None:
    """Everything is written to the current folder."""
    found = autoprox.search("snip", space="my-vit", max_params="120K", evaluations=60, workers=1)
    print(found)
    network = found.network(classes=10)
    print(f"{found.params} parameters, logits of shape {tuple(network(torch.zeros(1, 3, 32, 32)).shape)}")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        os.environ.setdefault("AUTOPROX_HOME", folder)
        os.chdir(folder)
        main()
