"""What Hugging Face `datasets` has saved: read like a folder of images, and every mistake has a sentence of its own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autoprox.api.captures import capture_settings
from autoprox.datasets import Dataset, load_dataset, training_images
from autoprox.errors import InputError, MissingError
from autoprox.measuring.capture import batch_key
from autoprox.spaces import get_space
from autoprox.spaces.architecture_file import ArchitectureFile, save_architecture
from tests.commands import Captured, fails, prints
from tests.image_files import write_classes

datasets = pytest.importorskip("datasets", reason="Hugging Face datasets is not installed (extra datasets)")

ClassLabel, Image, Value = datasets.ClassLabel, datasets.Image, datasets.Value


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AUTOPROX_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    datasets.disable_progress_bars()
    return tmp_path


def rows(folder: Path, names: Sequence[str] = ("a", "b"), label: Any = None) -> Any:
    """The images of a folder with a folder for each class, in its order; `label` is the type of the classes."""
    paths = [(path, number) for number, name in enumerate(names) for path in sorted((folder / name).iterdir())]
    columns = {
        "name": [path.name for path, _ in paths],
        "image": [{"bytes": path.read_bytes(), "path": None} for path, _ in paths],
        "label": [number for _, number in paths],
    }
    kinds = {"name": Value("string"), "image": Image(), "label": label or ClassLabel(names=list(names))}
    return datasets.Dataset.from_dict(columns, features=datasets.Features(kinds))


def save(folder: Path, splits: Any) -> str:
    """What `--dataset` takes, of a data set or of {name of a split: data set}."""
    if isinstance(splits, dict):
        splits = datasets.DatasetDict(splits)
    splits.save_to_disk(str(folder))
    return f"hf:{folder}"


def seen(dataset: Dataset) -> list[list[tuple[int, ...]]]:
    """Label and colour of every image, part by part."""
    parts = (dataset.train, dataset.validation, dataset.test)
    return [[(int(part.labels[i]), *part.image(i)[0, 0].tolist()) for i in range(len(part))] for part in parts]


@pytest.mark.parametrize("parts", [(), ("train", "test"), ("train", "val", "test")])
def test_it_is_divided_as_a_folder_of_the_same_images_is(parts: tuple[str, ...], here: Path) -> None:
    for part in parts or [""]:
        write_classes(here / "pets" / part, {"a": 20, "b": 30} if part in ("", "train") else {"a": 3, "b": 2})
    splits = {part.replace("val", "validation"): rows(here / "pets" / part) for part in parts}
    found = load_dataset(save(here / "Saved Pets", splits or rows(here / "pets")))
    assert seen(found) == seen(load_dataset(str(here / "pets")))
    assert (found.name, found.classes, found.mirrored) == ("saved-pets", 2, True)
    assert load_dataset(str(here / "Saved Pets")).key == found.key, "a folder is taken for what it is without hf: too"


@pytest.mark.parametrize(("held", "sizes"), [([], [35, 5, 10]), (["validation"], [40, 5, 10])])
def test_a_fifth_of_the_training_images_stands_in_for_absent_test_images(
    held: list[str], sizes: list[int], here: Path
) -> None:
    train, other = write_classes(here / "train", {"a": 20, "b": 30}), write_classes(here / "other", {"a": 3, "b": 2})
    found = load_dataset(save(here / "saved", {"train": rows(train), **{name: rows(other) for name in held}}))
    assert [len(part) for part in seen(found)] == sizes
    assert len({row for part in seen(found)[::2] for row in part}) == len(seen(found)[0] + seen(found)[2])


def test_integers_are_classes_in_their_order(here: Path) -> None:
    table = rows(write_classes(here / "pets", {"a": 9, "b": 9}), label=Value("int8"))
    table = table.map(lambda row: {"label": 7 - 10 * row["label"]})
    found = load_dataset(save(here / "saved", {"train": table, "test": table.select(range(12))}))
    assert found.classes == 2
    assert sorted(set(seen(found)[0])) == sorted((1 - c, c, i, 0) for _, c, i, _ in set(seen(found)[0]))
    assert found.test.labels.tolist() == [1] * 9 + [0] * 3


def test_images_in_files_beside_it_are_taken_in_when_it_is_saved(here: Path) -> None:
    folder = write_classes(here / "pets", {"a": 5, "b": 5})
    paths = [str(path) for name in ("a", "b") for path in sorted((folder / name).iterdir())]
    kinds = datasets.Features({"picture": Image(), "kind": ClassLabel(num_classes=2)})
    table = datasets.Dataset.from_dict({"picture": paths, "kind": [0] * 5 + [1] * 5}, features=kinds)
    found = load_dataset(save(here / "saved", table))
    assert seen(found) == seen(load_dataset(str(folder)))


def test_the_key_follows_the_content_alone(here: Path) -> None:
    table = rows(write_classes(here / "pets", {"a": 6, "b": 6}))
    keys = [load_dataset(save(here / name, table)).key for name in ("one", "two")]
    assert keys[0] == keys[1]
    other = table.select([*range(1, 12), 0])
    relabelled = table.map(
        lambda row, i: {"label": 1 - row["label"] if i in (0, 6) else row["label"]}, with_indices=True
    )
    repainted = rows(write_classes(here / "dogs", {"x": 0, "a": 6, "b": 6}))
    keys += [load_dataset(save(here / f"set-{i}", t)).key for i, t in enumerate((other, relabelled, repainted))]
    assert len(set(keys)) == 4


def test_networks_are_measured_on_the_same_images_wherever_it_lies(here: Path, capsys: Captured) -> None:
    folder = write_classes(here / "images" / "pets", {"a": 20, "b": 30})
    name = save(here / "saved" / "pets", rows(folder))
    space = get_space("pit-nano")
    smallest = space.smallest()
    file = ArchitectureFile(
        space.name, space.to_json(smallest), space.params(smallest), space.flops(smallest), 1.0, {"seed": 0}
    )
    save_architecture(here / "arch.json", file)
    asked = ["score", "--proxy", "snip", "--workers", "1", "--model", "arch.json", "--dataset"]
    scores = [prints(capsys, [*asked, place])["scores"] for place in (name, "hf:saved/pets", str(folder))]
    assert scores[0] == scores[1] == scores[2]

    settings = capture_settings(4, 0, dataset=name)
    key = batch_key(settings)
    (here / "saved").rename(here / "elsewhere")
    assert key == batch_key(capture_settings(4, 0, dataset="hf:elsewhere/pets"))
    assert settings.to_json() == capture_settings(4, 0, dataset="hf:elsewhere/pets").to_json()
    in_root = training_images("pets", here / "elsewhere")
    np.testing.assert_array_equal(in_root.split.labels, training_images(f"hf:{here}/elsewhere/pets").split.labels)


def test_a_search_and_its_training(here: Path, capsys: Captured) -> None:
    save(here / "pets", rows(write_classes(here / "images", {"a": 20, "b": 30})))
    asked = ["search", "--proxy", "snip", "--space", "pit-nano", "--evaluations", "8", "--workers", "1"]
    prints(capsys, [*asked, "--dataset", "hf:pets"])
    trained = prints(capsys, ["train", "arch.json", "--dataset", "hf:pets", "--epochs", "1"])
    assert (trained["dataset"], trained["classes"], trained["test_images"]) == ("pets", 2, 10)


def test_what_cannot_be_read_is_named_in_one_sentence(here: Path, capsys: Captured) -> None:
    table = rows(write_classes(here / "images", {"a": 5, "b": 5}))
    save(here / "cut", table)
    (file,) = (here / "cut").glob("*.arrow")
    file.write_bytes(file.read_bytes()[:99])
    save(here / "garbled", table)
    (here / "garbled" / "state.json").write_text("{", encoding="utf-8")
    for name, code, message in [
        ("absent", 3, "there is no folder"),
        ("images", 2, "cannot be read; expected a folder that save_to_disk"),
        ("cut", 2, "cannot be read; expected"),
        ("garbled", 2, "cannot be read; expected"),
    ]:
        ended, line = fails(capsys, ["bench", "build", "--space", "pit-nano", "--dataset", f"hf:{name}",
                                     "--architectures", "2", "--seeds", "1"])  # fmt: skip
        assert (ended, message in line, name in line) == (code, True, True), line


def test_images_that_are_absent_or_damaged_are_named(here: Path) -> None:
    folder = write_classes(here / "images", {"a": 5, "b": 5})
    damaged = rows(folder).map(lambda row: {"image": {"bytes": b"GIF89a", "path": None}})
    found = load_dataset(save(here / "damaged", damaged))
    with pytest.raises(MissingError, match=r"image train\[\d\] of .*damaged cannot be decoded"):
        found.train.image(0)
    absent = datasets.Dataset.from_dict(rows(folder).to_dict() | {"image": [None] * 10}, features=rows(folder).features)
    with pytest.raises(MissingError, match=r"image train\[\d\] of .*absent is absent: no bytes of it"):
        load_dataset(save(here / "absent", absent))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.remove_columns("image"), r"has the columns name \(string\), label \(ClassLabel\); expected one of"),
        (lambda t: t.remove_columns("label"), r"columns name \(string\), image \(Image\); expected one of type Image"),
        (lambda t: t.add_column("other", list(range(9))).cast_column("other", ClassLabel(num_classes=9)),
         r"label \(ClassLabel\), other \(ClassLabel\); expected one of"),
        (lambda t: t.cast_column("label", Value("float32")), r"label \(float32\); expected one of"),
        (lambda t: {"test": t}, r"has the splits test; expected train, and perhaps validation and test: rename"),
        (lambda t: {"train": t, "dev": t}, r"has the splits train, dev; expected"),
        (lambda t: {"train": t, "test": t.rename_column("label", "y")}, r"has other columns or classes in test than"),
        (lambda t: {"train": t, "test": t.select([])}, r"has no images in test; expected some|cannot be read; expected"),
        (lambda t: t.map(lambda row, i: {"label": -1 if i == 3 else 0}, with_indices=True),
         r"train\[3\] of .* has no class, but -1 for it; leave such rows out"),
        (lambda t: t.cast_column("label", Value("int64")).map(lambda row, i: {"label": i if i else None}, with_indices=True),
         r"train\[0\] of .* has no class, but None for it"),
        (lambda t: t.cast_column("label", Value("int64")).map(lambda row: {"label": 5}), r"has one class only, 5, in"),
        (lambda t: t.map(lambda row, i: {"label": int(i > 6)}, with_indices=True),
         r"the class of train\[7\] of .* has too few images to divide .* into 3 parts: 2; expected at least 3"),
    ],
)  # fmt: skip
def test_tables_that_cannot_be_used(change: Any, message: str, here: Path) -> None:
    table = rows(write_classes(here / "pets", {"a": 5, "b": 4}))
    with pytest.raises(InputError, match=message):
        load_dataset(save(here / "saved", change(table)))
