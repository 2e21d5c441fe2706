"""Data sets that need no files: what is generated is fair and always the same; and how parts are divided."""

import hashlib
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression

from autoprox.datasets import DATASETS, load_dataset, resized, square
from autoprox.datasets.split import array_split, divided

GENERATED = ("shapes", "textures")
IN_MEMORY = ("digits", *GENERATED)


def parts(dataset):
    return (dataset.train, dataset.validation, dataset.test)


def contents(split):
    return [split.content(i) for i in range(len(split))]


# -- generated and embedded


@pytest.mark.parametrize("name", IN_MEMORY)
def test_parts_are_disjoint_and_balanced(name):
    dataset = load_dataset(name)
    assert (dataset.name, dataset.classes) == (name, DATASETS[name].classes)
    sizes = [len(part) for part in parts(dataset)]
    assert sizes == ([797, 200, 800] if name == "digits" else [2000, 500, 1500])
    for part in parts(dataset):
        counts = np.bincount(part.labels, minlength=10)
        assert part.labels.dtype == np.int64
        assert len(counts) == 10
        assert np.ptp(counts) <= (4 if name == "digits" else 0)  # there are 174 to 183 of each digit
    everything = [content for part in parts(dataset) for content in contents(part)]
    assert len(set(everything)) == len(everything)


def test_digits_are_those_of_scikit_learn():
    from sklearn.datasets import load_digits

    dataset = load_dataset("digits")
    assert not dataset.mirrored
    known = {
        np.round(grey * 255 / 16).astype(np.uint8).tobytes(): y
        for grey, y in zip(*load_digits(return_X_y=True), strict=True)
    }
    for part in parts(dataset):
        for index in range(len(part)):
            image = part.image(index)
            assert image.shape == (8, 8, 3)
            assert (image == image[..., :1]).all()
            assert known[image[..., 0].tobytes()] == part.labels[index]


@pytest.mark.parametrize("name", GENERATED)
def test_generated_images_are_of_all_brightnesses(name):
    train = load_dataset(name).train
    images = np.stack([train.image(i) for i in range(len(train))])
    assert images.shape == (2000, 48, 48, 3)
    assert images.dtype == np.uint8
    assert images.mean((1, 2, 3)).std() > 25
    assert images.std((1, 2)).mean(1).min() > 3, "no image is flat"


def test_generated_images_are_the_same_in_another_process():
    code = (
        "import hashlib, sys\nfrom autoprox.datasets import load_dataset\n"
        "for dataset in map(load_dataset, ('textures', 'shapes')):\n"
        "    print(hashlib.sha256(b''.join(map(dataset.train.content, range(2000)))).hexdigest(), dataset.key)\n"
        "assert 'torch' not in sys.modules"
    )
    environment = {**os.environ, "OMP_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "2"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    here = (load_dataset("textures"), load_dataset("shapes"))
    found = [f"{hashlib.sha256(b''.join(contents(data.train))).hexdigest()} {data.key}" for data in here]
    assert done.stdout.splitlines() == found


@pytest.mark.parametrize(
    ("name", "expected"), [("shapes", [99.432, 97.446, 97.487]), ("textures", [127.668, 128.935, 127.972])]
)
def test_a_changed_recipe_needs_a_new_version(name, expected):
    """Accuracies in tables are of these very images; a processor may round some values differently, not the means."""
    dataset = load_dataset(name)
    found = [np.mean([part.image(i).mean() for i in range(len(part))]) for part in parts(dataset)]
    assert dataset.key.startswith("v1:")
    np.testing.assert_allclose(found, expected, atol=0.01)


@pytest.mark.parametrize("name", GENERATED)
def test_there_is_no_shortcut_to_the_class(name):
    """Neither single pixels nor colours tell much; chance is 10 %, and small networks reach 50 to 90 %."""
    dataset = load_dataset(name)

    def features(part):
        images = torch.stack([square(part.image(i), 24) for i in range(len(part))]).numpy() / 255
        bins = (images * 7.999).astype(int).reshape(len(images), 3, -1)
        histogram = np.stack([(bins == b).mean(2) for b in range(8)], axis=2).reshape(len(images), -1)
        statistics = [images.mean((2, 3)), images.std((2, 3)), histogram]
        return images.reshape(len(images), -1), np.concatenate(statistics, axis=1)

    (pixels, colour), (test_pixels, test_colour) = features(dataset.train), features(dataset.test)
    forest = RandomForestClassifier(100, random_state=0).fit(colour, dataset.train.labels)
    assert forest.score(test_colour, dataset.test.labels) < 0.3
    shrunk = (
        pixels.reshape(-1, 3, 12, 2, 12, 2).mean((1, 3, 5)),
        test_pixels.reshape(-1, 3, 12, 2, 12, 2).mean((1, 3, 5)),
    )
    linear = LogisticRegression(max_iter=30, tol=0.1).fit(shrunk[0].reshape(2000, -1), dataset.train.labels)
    assert linear.score(shrunk[1].reshape(1500, -1), dataset.test.labels) < 0.35


# -- dividing


@given(
    counts=st.lists(st.integers(3, 40), min_size=1, max_size=8),
    fractions=st.tuples(st.floats(0, 0.3), st.floats(0, 0.3)),
)
def test_every_class_has_its_share_of_every_part(counts, fractions):
    labels = np.repeat(np.arange(len(counts)), counts)
    whole = array_split("numbers", np.arange(len(labels), dtype=np.uint16).view(np.uint8).reshape(-1, 1, 1, 2), labels)
    sizes = [int(len(labels) * fraction) for fraction in fractions]
    found = divided(whole, sizes, "here")
    numbers = [np.frombuffer(b"".join(contents(part)), np.uint16) for part in found]
    assert sorted(np.concatenate(numbers)) == list(range(len(labels)))
    for part, size, rows in zip(found, [*sizes, None], numbers, strict=True):
        np.testing.assert_array_equal(labels[rows], part.labels)
        share = np.bincount(part.labels, minlength=len(counts))
        assert (share >= 1).all()
        if size is not None:
            assert (np.abs(share - np.array(counts) * size / len(labels)) <= 1).all()
            assert len(part) == size or (share == 1).any()


def test_squares_are_bytes_of_the_centre():
    image = np.zeros((20, 60, 3), np.uint8)
    image[:, 20:40] = (10, 200, 255)
    found = square(image, 8)
    assert (found.dtype, found.shape) == (torch.uint8, (3, 8, 8))
    assert found[:, 2:6, 2:6].flatten(1).unique(dim=1).tolist() == [[10], [200], [255]]
    torch.testing.assert_close(found / 255, resized(image, 8), atol=0.5 / 255 + 1e-6, rtol=0)
