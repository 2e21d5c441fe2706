"""The public benchmarks that the project knows: where they are, what their files must be, what is wrong with them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from benchdata import _nas_bench_bert, _ood_vit_nas, _vit_bench_101
from benchdata._errors import TableError, unusable
from benchdata._table import Benchmark, Row, check_rows

__all__ = ["KNOWN", "KnownBenchmark", "PublicFile", "fingerprint"]


@dataclass(frozen=True)
class PublicFile:
    """One published file, pinned by size in bytes and SHA-256. A benchmark needs at least one `main` file.

    `excerpt` is the SHA-256 of a known part of it, which serves in its place and is then named among the defects.
    """

    name: str
    size: int
    sha256: str
    main: bool = True
    excerpt: str | None = None

    def matches(self, data: bytes) -> bool:
        return fingerprint(data)[1] in (self.sha256, self.excerpt)

    def remark(self, data: bytes) -> str | None:
        """What a reader of the table must know about this content; None for the published file."""
        if not self.matches(data):
            return f"{self.name} is not the published file: its SHA-256 differs."
        whole = fingerprint(data)[1] == self.sha256
        return None if whole else f"{self.name} is an excerpt of the published file: it lacks the last rows."


@dataclass(frozen=True)
class KnownBenchmark:
    """A public benchmark: its provenance, files and known defects; `read` turns one file's content into rows.

    Where no checksums are published, `unpinned` says what the files are called, and only the user can supply them.
    """

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
    unpinned: re.Pattern[str] | None = None
    wanted: str = ""
    """The unpinned files' names, for people."""

    def file_url(self, file: PublicFile) -> str:
        return self.url.format(commit=self.commit, file=file.name)

    def file(self, name: str) -> PublicFile | None:
        """The published file of that name, if its checksum is known."""
        return next((file for file in self.files if file.name == name), None)

    def recognises(self, name: str) -> bool:
        """Whether a file of that name is one of the benchmark's."""
        return self.file(name) is not None or bool(self.unpinned and self.unpinned.fullmatch(name))

    def present(self, folder: Path) -> tuple[Path, ...]:
        """The benchmark's files that a folder has, by name."""
        return tuple(sorted(path for path in folder.iterdir() if self.recognises(path.name) and path.is_file()))

    def is_main(self, name: str) -> bool:
        file = self.file(name)
        return self.recognises(name) if file is None else file.main

    def check_complete(self, where: str, paths: tuple[Path, ...]) -> None:
        """Raise TableError unless one of the main files is among the paths."""
        if not any(self.is_main(path.name) for path in paths):
            wanted = self.wanted or " or ".join(file.name for file in self.files if file.main)
            found = ", ".join(path.name for path in paths) or "none of the benchmark's files"
            raise unusable(where, wanted, found, f"get the files from {self.source}")

    def table(self, contents: Mapping[Path, bytes]) -> Benchmark:
        """The benchmark out of the contents of its files.

        A file that is not the published one is read too, and named among the defects.

        Raises:
            TableError: a file is not of the published format.
        """
        rows: list[Row] = []
        places: list[str] = []
        remarks: list[str] = []
        for path, data in contents.items():
            found = self.read(path, data)
            rows += found
            places += [f"{path}, row {index}" for index in range(len(found))]
            file = self.file(path.name)
            if file is not None and (remark := file.remark(data)) is not None:
                remarks.append(remark)
        check_rows(rows, places)
        there = {dataset for row in rows for dataset, _ in row.accuracy}
        return Benchmark(
            name=self.name,
            title=self.title,
            source=f"{self.source}, commit {self.commit}" if self.commit else self.source,
            licence=self.licence,
            default_label=self.default_label,
            default_datasets=tuple(name for name in self.default_datasets if name in there),
            defects=(*self.defects, *remarks),
            rows=tuple(rows),
        )

    def is_published(self, path: Path, data: bytes) -> bool:
        """Whether the checksum is the published file's, or its excerpt's; false where none is known."""
        file = self.file(path.name)
        return file is not None and file.matches(data)

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
    read=_vit_bench_101.read_rows,
)

_NAS_BENCH_BERT = KnownBenchmark(
    name="nas-bench-bert",
    title="NAS-Bench-BERT: FlexiBERT encoders pretrained as ELECTRA discriminators and fine-tuned on eight GLUE tasks",
    source="https://github.com/aaronserianni/training-free-nas (data)",
    commit="2d76e01b9586cad7340e8268dadba3056efd070b",
    licence="CC BY 4.0, by A. Serianni and J. Kalita (ACL 2023)",
    url="https://raw.githubusercontent.com/aaronserianni/training-free-nas/{commit}/data/{file}",
    files=(
        PublicFile(
            "BERT_benchmark.json",
            453164,
            "fa2ff7198dcd71e0b8021ed2ace1c221672c33cc56931b6dff31fda3d044784f",
            excerpt="a60398f9ba1b735a428276df554c15961fdee075ffd9b8f3e24b76912ab2069e",
        ),
    ),
    default_label="score",
    default_datasets=("glue",),
    defects=(
        "Scores are the tasks' own measures times 100, not all of them accuracies: CoLA is Matthews' correlation, which "
        "can be negative, STS a correlation; glue is the mean of the eight.",
        "Id 47 has RTE 0, which no classifier of two classes reaches, and glue (60.32) counts it in: the mean of the other "
        "seven scores is 68.93.",
        "The authors' proxy results (data/BERT_results_activation.csv) ignore the hidden size and the feed-forward "
        "dimension: BERT_metrics.ipynb builds every network with 256 and 1024. Recompute proxies, do not read them there.",
        "The operation of a layer does not show in the scores: given hidden size, heads and feed-forward layers, an "
        "F test on the ranks of glue finds nothing (p = 0.63 for 2 layers, 0.72 for 4; ids 0-299). The released training "
        "code compares the operation's name by identity, so that every layer may have been trained as scaled dot-product "
        "attention.",
        "In the released training code the feed-forward dimension sets the stacked layers only, so networks with one "
        "feed-forward layer differ in it by name alone.",
        "Each score is a single training run whose seed was not recorded. An architecture that the file has twice (ids "
        "60 and 222: glue 67.76 and 65.74) has one row with the means.",
    ),
    read=_nas_bench_bert.read_rows,
)

_OOD_VIT_NAS = KnownBenchmark(
    name="ood-vit-nas",
    title="OoD-ViT-NAS: AutoFormer-Tiny, -Small and -Base networks on ImageNet and shifted versions of it",
    source="https://github.com/vovantuan1999a/OoD-ViT-NAS (architecture_infors)",
    commit="",
    licence="none stated: for local use, do not redistribute",
    url="",
    files=(),
    default_label="clean",
    default_datasets=("imagenet",),
    defects=(
        "Accuracies were inherited from one supernet a space instead of trained.",
        "The files have no published checksums: what was imported is what the user supplied.",
    ),
    read=_ood_vit_nas.read_rows,
    unpinned=_ood_vit_nas.FILES,
    wanted="a file for each space, such as 1k_Vit_Architecture_from_AutoFM_tiny.json (names end in tiny, small or base)",
)

KNOWN: dict[str, KnownBenchmark] = {known.name: known for known in (_VIT_BENCH_101, _NAS_BENCH_BERT, _OOD_VIT_NAS)}
"""The public benchmarks that `add_benchmark` can install, by name."""
