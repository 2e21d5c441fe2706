"""Data sets in local folders: every layout is read or refused, and every mistake has a sentence of its own."""

import os
import re
import sys
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from autoprox.datasets import DATASETS, load_dataset, training_images
from autoprox.errors import InputError, MissingError
from tests.image_files import write_chaoyang, write_cifar100, write_classes, write_flowers


def parts(dataset):
    return (dataset.train, dataset.validation, dataset.test)


def contents(split):
    return [split.content(i) for i in range(len(split))]


def colours(split):
    """The first pixel of every image."""
    return [tuple(split.image(i)[0, 0].tolist()) for i in range(len(split))]


# -- published


@pytest.fixture
def root(tmp_path):
    write_cifar100(tmp_path, count=40, test=10, classes=4)
    write_flowers(tmp_path)
    write_chaoyang(tmp_path, count=40, test=8)
    return tmp_path


def test_cifar100_holds_out_a_tenth(root):
    dataset = load_dataset("cifar100", root)
    assert [len(part) for part in parts(dataset)] == [36, 4, 10]
    assert dataset.classes == 100
    assert sorted(dataset.validation.labels) == [96, 97, 98, 99]
    red = [sorted(colour[0] for colour in colours(part)) for part in parts(dataset)]
    assert sorted(red[0] + red[1]) == list(range(40))
    assert red[2] == list(range(40, 50))
    for part in parts(dataset):
        assert all(99 - red % 4 == label for (red, *_), label in zip(colours(part), part.labels, strict=True))
    assert load_dataset("cifar100", root / "cifar-100-binary").key == dataset.key


def test_flowers_have_the_parts_of_their_authors(root):
    dataset = load_dataset("flowers", root)
    assert [part.labels.tolist() for part in parts(dataset)] == [
        list(range(10, 20)),
        [*range(10)],
        list(range(20, 30)),
    ]


def test_chaoyang_has_a_list_for_each_part(root):
    dataset = load_dataset("chaoyang", root)
    assert [len(part) for part in parts(dataset)] == [36, 4, 8]
    assert sorted(dataset.validation.labels) == [0, 1, 2, 3]
    assert dataset.test.name(0).endswith("40.JPG")


@pytest.mark.parametrize("name", ["cifar100", "flowers", "chaoyang"])
def test_measuring_takes_all_that_is_for_training(root, name):
    whole = set(contents(training_images(name, root).split))
    dataset = load_dataset(name, root)
    held = set() if name == "flowers" else set(contents(dataset.validation))
    assert whole == set(contents(dataset.train)) | held


@pytest.mark.parametrize(("name", "file"), [("cifar100", "test.bin"), ("chaoyang", "test.json")])
def test_the_test_images_are_needed_for_training_only(root, name, file):
    (path,) = root.glob(f"*/{file}")
    path.unlink()
    with pytest.raises(InputError, match=rf"has no {re.escape(file)}, which {name} needs for its test images"):
        load_dataset(name, root)
    assert len(training_images(name, root).split) == 40


def test_keys_of_published_ones_follow_the_content(root):
    keys = [load_dataset(name, root).key for name in ("cifar100", "flowers", "chaoyang")]
    path = root / "cifar-100-binary" / "test.bin"
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    (root / "flowers-102" / "jpg" / "image_00025.jpg").write_bytes(b"short")
    rows = (root / "chaoyang" / "test.json").read_text(encoding="utf-8")
    (root / "chaoyang" / "test.json").write_text(rows.replace('"label": 3', '"label": 2'), encoding="utf-8")
    now = [load_dataset(name, root).key for name in ("cifar100", "flowers", "chaoyang")]
    assert len(set(keys) | set(now)) == 6
    (root / "flowers-102" / "jpg" / "image_00025.jpg").unlink()
    with pytest.raises(MissingError, match=r"image_00025\.jpg cannot be read"):
        load_dataset("flowers", root)


def test_a_class_that_cannot_be_divided_is_named(tmp_path):
    write_cifar100(tmp_path, count=9, test=3, classes=8)
    with pytest.raises(
        InputError, match=r"the class of record 7 of .*train\.bin has too few.*into 2 parts: 1; expected"
    ):
        load_dataset("cifar100", tmp_path)


def test_an_empty_part_is_named(root):
    (root / "chaoyang" / "train.json").write_text("[]", encoding="utf-8")
    with pytest.raises(InputError, match=r"chaoyang in .* has no images in train\.json"):
        load_dataset("chaoyang", root)


# -- folders of images


def test_a_folder_with_parts(tmp_path):
    folder = tmp_path / "My Pets!"
    for number, part in enumerate(("train", "val", "test")):
        write_classes(folder / part, {"cat": 2 + number, "dog": 3 + number})
    dataset = load_dataset(str(folder))
    assert (dataset.name, dataset.classes) == ("my-pets", 2)
    assert [part.labels.tolist() for part in parts(dataset)] == [[0] * n + [1] * (n + 1) for n in (2, 3, 4)]
    assert colours(dataset.test) == [(0, i, 0) for i in range(4)] + [(1, i, 0) for i in range(5)]
    before = colours(dataset.validation)
    (folder / "val").rename(folder / "validation")
    assert colours(load_dataset(str(folder)).validation) == before == [(c, i, 0) for c in (0, 1) for i in range(3 + c)]


def test_a_folder_without_validation_holds_out_a_tenth(tmp_path):
    write_classes(tmp_path / "train", {"a": 20, "b": 30})
    write_classes(tmp_path / "test", {"a": 1, "b": 1})
    dataset = load_dataset(str(tmp_path))
    assert [np.bincount(part.labels).tolist() for part in parts(dataset)] == [[18, 27], [2, 3], [1, 1]]
    assert set(colours(dataset.train) + colours(dataset.validation)) == {
        (c, i, 0) for c in (0, 1) for i in range(20 + 10 * c)
    }


def test_a_folder_without_parts_is_divided(tmp_path):
    folder = write_classes(tmp_path / "plain", {"b": 20, "a": 40, "c": 3})
    dataset = load_dataset(f"{folder}{os.sep}")
    assert dataset.classes == 3
    counts = [np.bincount(part.labels).tolist() for part in parts(dataset)]
    assert np.sum(counts, axis=0).tolist() == [40, 20, 3]
    assert counts == [[28, 14, 1], [4, 2, 1], [8, 4, 1]]
    everything = Counter(colour for part in parts(dataset) for colour in colours(part))
    assert set(everything.values()) == {1}
    assert len(everything) == 63
    assert colours(load_dataset(str(folder)).test) == colours(dataset.test)


def test_stray_files_are_passed_over(tmp_path):
    folder = write_classes(tmp_path / "pets", {"cat": 5, "dog": 5})
    before = load_dataset(str(folder))
    (folder / "README.md").write_text("about cats", encoding="utf-8")
    (folder / ".thumbnails").mkdir()
    (folder / "cat" / "notes.txt").write_text("grey", encoding="utf-8")
    (folder / "cat" / "._1.png").write_bytes(b"resource fork")
    (folder / "dog" / "puppies").mkdir()
    after = load_dataset(str(folder))
    assert after.key == before.key
    assert [len(part) for part in parts(after)] == [len(part) for part in parts(before)]


@pytest.mark.parametrize("suffix", [".JPG", ".jpeg", ".png", ".bmp", ".webp", ".ppm", ".tif", ".gif"])
def test_common_formats_are_read(tmp_path, suffix):
    folder = write_classes(tmp_path / "formats", {"a": 3, "b": 3}, suffix)
    image = load_dataset(str(folder)).test.image(1)
    assert image.shape == (8, 10, 3)
    np.testing.assert_allclose(image[0, 0], [1, 1, 0], atol=4)


def test_grey_and_transparent_images_have_three_channels(tmp_path):
    folder = write_classes(tmp_path / "modes", {"a": 3, "b": 3})
    for i, mode in enumerate(("L", "RGBA", "P")):
        Image.new(mode, (4, 4)).save(folder / "a" / f"{i}.png")
    dataset = load_dataset(str(folder))
    assert {part.image(0).shape for part in parts(dataset)} == {(4, 4, 3)}


def test_keys_of_folders_follow_names_sizes_and_labels(tmp_path):
    folder = write_classes(tmp_path / "pets", {"cat": 5, "dog": 5})
    keys = [load_dataset(str(folder)).key]
    (folder / "dog" / "0.png").rename(folder / "dog" / "9.png")
    keys.append(load_dataset(str(folder)).key)
    Image.new("RGB", (30, 30), (9, 9, 9)).save(folder / "dog" / "9.png")
    keys.append(load_dataset(str(folder)).key)
    (folder / "dog" / "9.png").rename(folder / "cat" / "9.png")
    keys.append(load_dataset(str(folder)).key)
    assert len(set(keys)) == 4
    moved = folder.rename(tmp_path / "elsewhere")
    assert load_dataset(str(moved)).key == keys[-1]


def test_names_and_paths(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_classes(tmp_path / "digits", {"a": 3, "b": 3})
    assert load_dataset("digits").classes == 10, "known names win"
    own = load_dataset("./digits")
    assert (own.name, own.classes) == ("digits-folder", 2)
    write_classes(tmp_path / "Größe 7", {"a": 3, "b": 3})
    assert load_dataset("Größe 7").name == "gr-e-7"
    monkeypatch.chdir(tmp_path / "Größe 7")
    assert load_dataset(".").name == "gr-e-7"


def test_images_that_cannot_be_read_are_named_when_they_are_asked_for(tmp_path, monkeypatch):
    folder = write_classes(tmp_path / "pets", {"cat": 3, "dog": 3})
    (folder / "dog" / "1.png").write_bytes((folder / "dog" / "1.png").read_bytes()[:50])
    dataset = load_dataset(str(folder))
    with pytest.raises(MissingError, match=r"dog.1\.png cannot be decoded"):
        [colours(part) for part in parts(dataset)]
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(
        MissingError, match=r"needs Pillow, which is not installed: pip install 'autoprox-vit\[vision\]'"
    ):
        dataset.train.image(0)


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ({}, r"has no folder in it; expected a folder of images for each class"),
        ({"cat": 4}, r"has one class only, 'cat'; expected .* at least two classes"),
        ({"cat": 4, "dog": 0}, r"dog holds no image \(\.bmp, .*put images there or remove it"),
        (
            {"cat": 4, "dog": 2},
            r"the class of .*dog.*0\.png has too few images .* into 3 parts: 2; expected at least 3",
        ),
    ],
)
def test_folders_that_cannot_be_used(tmp_path, counts, message):
    folder = write_classes(tmp_path / "pets", counts)
    folder.mkdir(exist_ok=True)
    with pytest.raises(InputError, match=message):
        load_dataset(str(folder))


def test_parts_that_do_not_match(tmp_path):
    write_classes(tmp_path / "train", {"cat": 2, "dog": 2})
    with pytest.raises(InputError, match=r"has train/ but no test/"):
        load_dataset(str(tmp_path))
    write_classes(tmp_path / "test", {"cat": 1, "dog": 1, "emu": 1})
    with pytest.raises(InputError, match=r"has a class 'emu' in test/ but not in train/; expected the same classes"):
        load_dataset(str(tmp_path))
    write_classes(tmp_path / "train", {"emu": 2})
    write_classes(tmp_path / "val", {"cat": 1, "dog": 1})
    with pytest.raises(InputError, match=r"has a class 'emu' in train/ but not in val/"):
        load_dataset(str(tmp_path))
    (tmp_path / "validation").mkdir()
    with pytest.raises(InputError, match=r"has both val/ and validation/"):
        load_dataset(str(tmp_path))


def test_names_that_are_no_data_set(tmp_path):
    with pytest.raises(
        InputError, match=r"no data set 'shape' \(did you mean 'shapes'\?\); expected one of digits, .* path of"
    ):
        load_dataset("shape")
    with pytest.raises(MissingError, match=r"there is no folder .*absent; expected a folder"):
        load_dataset(str(tmp_path / "absent"))
    for text in ("x" * 300, "", "a\0b"):
        with pytest.raises(InputError, match="there is no data set"):
            load_dataset(text)
    with pytest.raises(MissingError, match="there is no folder"):
        load_dataset(f"./{'x' * 300}")
    with pytest.raises(InputError, match=r"images of flowers are in no package; name the folder with them"):
        load_dataset("flowers")
    assert [name for name, known in DATASETS.items() if known.needs_root] == ["cifar100", "flowers", "chaoyang"]
