"""The public benchmarks that the project knows: where they are, what their files must be, what is wrong with them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from benchdata._errors import TableError, unusable
from benchdata._table import Benchmark, Row, check_rows
from benchdata._vit_bench_101 import read_rows

__all__ = ["KNOWN", "KnownBenchmark", "PublicFile", "fingerprint"]


@dataclass(frozen=True)
class PublicFile:
    """One published file, pinned by size in bytes and SHA-256. A benchmark needs at least one `main` file."""

    name: str
    size: int
    sha256: str
    main: bool = True

    def matches(self, data: bytes) -> bool:
        return fingerprint(data) == (self.size, self.sha256)


@dataclass(frozen=True)
class KnownBenchmark:
    """A public benchmark: its provenance, files and known defects; `read` turns one file's content into rows."""

    name: str
    title: str
    source: str
    commit: str
    licence: str
    url: str
    files: tuple[PublicFile, ...]
    default_label: str
    default_datasets: tuple[str, ...]
    defects: tuple[str, ...]
    read: Callable[[Path, bytes], tuple[Row, ...]]

    def file_url(self, file: PublicFile) -> str:
        return self.url.format(commit=self.commit, file=file.name)

    def present(self, folder: Path) -> tuple[PublicFile, ...]:
        """The published files that a folder has, by name."""
        return tuple(file for file in self.files if (folder / file.name).is_file())

    def check_complete(self, where: str, files: tuple[PublicFile, ...]) -> None:
        """Raise TableError unless one of the main files is among `files`."""
        if not any(file.main for file in files):
            wanted = " or ".join(file.name for file in self.files if file.main)
            found = ", ".join(file.name for file in files) or "none of the benchmark's files"
            raise unusable(where, wanted, found, f"get the files from {self.source}")

    def table(self, contents: Mapping[Path, bytes]) -> Benchmark:
        """The benchmark out of the contents of its files.

        A file that is not the published one is read too, and named among the defects.

        Raises:
            TableError: a file is not of the published format.
        """
        rows: list[Row] = []
        places: list[str] = []
        strangers: list[str] = []
        for path, data in contents.items():
            found = self.read(path, data)
            rows += found
            places += [f"{path}, row {index}" for index in range(len(found))]
            if not any(file.name == path.name and file.matches(data) for file in self.files):
                strangers.append(f"{path.name} is not the published file: its SHA-256 differs.")
        check_rows(rows, places)
        there = {dataset for row in rows for dataset, _ in row.accuracy}
        return Benchmark(
            name=self.name,
            title=self.title,
            source=f"{self.source}, commit {self.commit}",
            licence=self.licence,
            default_label=self.default_label,
            default_datasets=tuple(name for name in self.default_datasets if name in there),
            defects=(*self.defects, *strangers),
            rows=tuple(rows),
        )

    def verify(self, where: str, file: PublicFile, data: bytes) -> None:
        """Raise TableError unless the content is the published file's."""
        if not file.matches(data):
            size, digest = fingerprint(data)
            raise TableError(
                f"{where}: expected the published file ({file.size} bytes, SHA-256 {file.sha256}), "
                f"found {size} bytes, SHA-256 {digest}; take the file again from {self.file_url(file)}"
            )


def fingerprint(data: bytes) -> tuple[int, str]:
    """Size in bytes and SHA-256."""
    return len(data), hashlib.sha256(data).hexdigest()


_VIT_BENCH_101 = KnownBenchmark(
    name="vit-bench-101",
    title="ViT-Bench-101: AutoFormer-Tiny and PiT-Tiny variants trained on three small data sets",
    source="https://github.com/lilujunai/Auto-Prox-AAAI24 (gt_results)",
    commit="90ed458eff6948a6f0d23e440a8d21bbec50d091",
    licence="Apache-2.0 by the repository's LICENSE file, MIT by its README",
    url="https://raw.githubusercontent.com/lilujunai/Auto-Prox-AAAI24/{commit}/gt_results/{file}",
    files=(
        PublicFile("gt_autoformer.pth", 26671, "712ad277546d9f7f565ce07885be7e0b98dcd8d0724fdd1120f595b517436eca"),
        PublicFile(
            "gt_autoformer_2.pth", 23983, "05f5df6a41f338fb5f47eafebfc8758c75e451606856b278ccda1c60b26e7bca", main=False
        ),
        PublicFile("gt_pit.pth", 12271, "bdda89841d4105f99ab759e3243e7a2402929ba7a8430dac12a50256aa533bb2"),
    ),
    default_label="kd",
    default_datasets=("cifar100", "flowers", "chaoyang"),
    defects=(
        "Row 9 of gt_autoformer.pth (counting from 0) is a failed Flowers run with distillation: 48.56 % against "
        "52.85 % without it, where the next lowest network reaches 65.70 %.",
        "ImageNet accuracies were inherited from one supernet instead of trained, and width alone parts them: in "
        "gt_autoformer.pth every network 240 wide has 70.75-71.74 %, every narrower one 74.6-75.5 %.",
        "Each accuracy is a single training run whose seed was not recorded, so its noise is unknown.",
        "Chaoyang accuracies (kd) of gt_autoformer.pth differ by less (standard deviation 0.42) than the sampling "
        "error of one accuracy on the 2139 test images (0.77), so chance decides much of their order.",
        "gt_autoformer_2.pth has no accuracies without distillation (label base).",
    ),
    read=read_rows,
)

KNOWN: dict[str, KnownBenchmark] = {_VIT_BENCH_101.name: _VIT_BENCH_101}
"""The public benchmarks that `add_benchmark` can install, by name."""
