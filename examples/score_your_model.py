"""Score a vision transformer of your own with a proxy that was exported as a standalone file.

The model needs blocks that are named as timm names them: attn.qkv, attn.proj, mlp.fc1, mlp.act, mlp.fc2, norm1, norm2.
Here a network of one of the search spaces stands in for it.
"""

import importlib.util
import tempfile
from pathlib import Path

import numpy as np
import torch

from autoprox.export import export
from autoprox.proxies.proxy import resolve_proxy
from autoprox.spaces import get_space

snip = resolve_proxy("snip")  # or resolve_proxy("best.json")

with tempfile.TemporaryDirectory() as folder:
    path = Path(folder) / "snip.py"
    path.write_text(export(snip.expression, "python", title="SNIP"), encoding="utf-8")
    specification = importlib.util.spec_from_file_location("snip", path)
    proxy = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(proxy)

generator = torch.Generator().manual_seed(0)
images = torch.randn(2, 3, 224, 224, generator=generator)
labels = torch.randint(100, (2,), generator=generator)

space = get_space("pit-tiny")
rng = np.random.default_rng(0)
for _ in range(3):
    architecture = space.sample(rng)
    model = space.network(architecture, classes=100, seed=0)
    print(f"{proxy.score(model, images, labels):12.3f}  {space.key(architecture)}")
