"""Find the architecture with the highest score under a parameter budget, from Python; nothing is trained."""

import tempfile
from pathlib import Path

from autoprox.language.text import parse_proxy
from autoprox.measuring.store import FeatureStore
from autoprox.measuring.workers import Workers
from autoprox.search import SearchSettings, search

proxy = parse_proxy("sum(erank(proj.weight))")
settings = SearchSettings(space="pit-tiny", max_params=2_000_000, evaluations=32)

with (
    tempfile.TemporaryDirectory() as folder,
    FeatureStore(Path(folder) / "memo.sqlite") as store,
    Workers(1) as workers,
):
    found = search(proxy, settings, run_dir=Path(folder) / "run", store=store, workers=workers)

print(f"{found.architecture}\n{found.params / 1e6:.2f} M parameters, score {found.score:.4g}")
print(f"{len(found.random)} figures of random picks beside it: {sorted(found.random)}")
