"""Batches, from small folders written in the exact formats of the data sets."""

import json
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.io import savemat

from autoprox.datasets import load_dataset
from autoprox.errors import InputError, MissingError
from autoprox.measuring.images import PIXELS, classes_of, image_batch, noise_batch
from tests.image_files import write_chaoyang, write_cifar100, write_flowers

MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])


@pytest.fixture
def cifar(tmp_path):
    return write_cifar100(tmp_path)


@pytest.fixture
def flowers(tmp_path):
    return write_flowers(tmp_path)


@pytest.fixture
def chaoyang(tmp_path):
    return write_chaoyang(tmp_path)


def colours(batch):
    """(size, 3) colours of one-coloured images, back in 0 to 255."""
    assert (batch.images.amax((2, 3)) - batch.images.amin((2, 3))).max() < 0.01
    return (batch.images[:, :, 0, 0].numpy() * STD + MEAN) * 255


def same(a, b):
    return torch.equal(a.images, b.images) and torch.equal(a.labels, b.labels)


def test_noise_is_seeded():
    batch = noise_batch(4, 10, seed=3)
    assert batch.images.shape == (4, 3, 224, 224)
    assert (batch.images.dtype, batch.labels.dtype, batch.classes) == (torch.float32, torch.int64, 10)
    assert abs(batch.images.mean()) < 0.01
    assert abs(batch.images.std() - 1) < 0.01
    state = torch.get_rng_state()
    assert same(batch, noise_batch(4, 10, seed=3))
    assert torch.equal(state, torch.get_rng_state()), "the global generator must stay as it was"
    assert not same(batch, noise_batch(4, 10, seed=4))
    assert len({noise_batch(s, c, seed=d).key for s, c, d in [(4, 10, 3), (5, 10, 3), (4, 11, 3), (4, 10, 4)]}) == 4
    assert set(noise_batch(40, 3, seed=0).labels.tolist()) == {0, 1, 2}


def test_cifar100_takes_fine_labels_and_planar_colours(cifar):
    batch = image_batch("cifar100", cifar, 20, seed=0)
    assert batch.images.shape == (20, 3, 224, 224)
    assert (batch.images.dtype, batch.labels.dtype, batch.classes) == (torch.float32, torch.int64, 100)
    index = 99 - batch.labels.numpy()
    assert sorted(index) == list(range(20)), "chosen without replacement"
    np.testing.assert_allclose(colours(batch), np.stack([index, 2 * index, 255 - index], axis=1), atol=1e-3)


def test_cifar100_keeps_rows_and_columns(cifar):
    pixels = np.zeros((3, 32, 32), np.uint8)
    pixels[:, :16, :] = 200  # bright upper half
    (cifar / "train.bin").write_bytes(bytes([0, 5]) + pixels.tobytes())
    image = image_batch("cifar100", cifar, 1, seed=0).images[0]
    assert (image[:, :100] > image[:, 124:].amax()).all()


def test_flowers_takes_the_training_split_and_counts_from_one(flowers):
    batch = image_batch("flowers", flowers, 10, seed=0)
    assert sorted(batch.labels.tolist()) == list(range(10, 20))
    red = 8 * (batch.labels.numpy() + 1)
    np.testing.assert_allclose(colours(batch)[:, 0], red, atol=3)  # JPEG rounds colours


def test_chaoyang_reads_its_list(chaoyang):
    batch = image_batch("chaoyang", chaoyang, 8, seed=0)
    assert batch.classes == 4
    green = np.round(colours(batch)[:, 1] / 30).astype(int)
    assert sorted(green) == list(range(8))
    np.testing.assert_array_equal(batch.labels, green % 4)


def test_the_centre_is_cut_out(chaoyang):
    wide = Image.new("RGB", (96, 32), (255, 0, 0))
    wide.paste((0, 0, 255), (32, 0, 64, 32))
    wide.save(chaoyang / "train" / "wide.png")
    (chaoyang / "train.json").write_text('[{"name": "train/wide.png", "label": 1}]', encoding="utf-8")
    image = image_batch("chaoyang", chaoyang, 1, seed=0).images[0].permute(1, 2, 0).numpy()
    blue = (np.array([0, 0, 1]) - MEAN) / STD
    np.testing.assert_allclose(image[:, 20:-20], np.broadcast_to(blue, (224, 184, 3)), atol=0.01)  # edges are blended


@pytest.mark.parametrize("dataset", ["digits", "shapes", "textures"])
def test_some_need_no_folder(dataset, tmp_path):
    batch = image_batch(dataset, None, 5, seed=2, pixels=24)
    assert batch.images.shape == (5, 3, 24, 24)
    assert batch.classes == classes_of(dataset, None) == 10
    train = load_dataset(dataset).train
    chosen = np.random.default_rng(2).choice(len(train), 5, replace=False)
    np.testing.assert_array_equal(batch.labels, train.labels[chosen])
    again = image_batch(dataset, tmp_path / "absent", 5, seed=2, pixels=24)
    assert same(batch, again)
    assert batch.key == again.key


def test_keys_do_not_depend_on_the_pixels(cifar):
    assert image_batch("cifar100", cifar, 3, seed=5, pixels=24).key == image_batch("cifar100", cifar, 3, seed=5).key
    small = noise_batch(3, 10, seed=5, pixels=24)
    assert small.images.shape == (3, 3, 24, 24)
    assert small.key == noise_batch(3, 10, seed=5).key


def test_batches_are_as_they_always_were(cifar):
    """A changed key would have users measure anew what is in their memos already."""
    assert image_batch("cifar100", cifar, 3, seed=5).key == "cifar100:3:5:460fc9e3797f26c66e0a0f210091e18c"


@pytest.mark.parametrize("dataset", ["cifar100", "flowers", "chaoyang"])
def test_batches_are_seeded_and_found_from_the_folder_around(dataset, request):
    folder = request.getfixturevalue(dataset.removesuffix("100"))
    batch = image_batch(dataset, folder, 3, seed=5)
    again = image_batch(dataset, folder.parent, 3, seed=5)
    assert same(batch, again)
    assert batch.key == again.key
    others = [image_batch(dataset, folder, 3, seed=6), image_batch(dataset, folder, 4, seed=5)]
    assert len({batch.key, *(other.key for other in others)}) == 3
    assert batch.classes == classes_of(dataset, None)


def test_the_key_follows_the_content(chaoyang):
    before = image_batch("chaoyang", chaoyang, 8, seed=0).key
    Image.new("RGB", (32, 32), (9, 9, 9)).save(chaoyang / "train" / "3.JPG", format="JPEG")
    after = image_batch("chaoyang", chaoyang, 8, seed=0).key
    rows = json.loads((chaoyang / "train.json").read_text(encoding="utf-8"))
    rows[0]["label"] = 3
    (chaoyang / "train.json").write_text(json.dumps(rows), encoding="utf-8")
    assert len({before, after, image_batch("chaoyang", chaoyang, 8, seed=0).key}) == 3


def test_the_pickled_cifar_is_refused(tmp_path):
    (tmp_path / "cifar-100-python").mkdir()
    (tmp_path / "cifar-100-python" / "train").write_bytes(b"\x80\x02.")
    with pytest.raises(InputError, match=r"is a pickle.*binary version.*train\.bin"):
        image_batch("cifar100", tmp_path, 2, seed=0)
    with pytest.raises(InputError, match="is a pickle"):
        image_batch("cifar100", tmp_path / "cifar-100-python", 2, seed=0)


@pytest.mark.parametrize(
    ("dataset", "expected"),
    [("cifar100", "expected train.bin"), ("flowers", "expected jpg, imagelabels.mat"), ("chaoyang", "train.json")],
)
def test_a_wrong_layout_names_the_files(dataset, expected, tmp_path):
    with pytest.raises(InputError, match=expected):
        image_batch(dataset, tmp_path, 2, seed=0)
    with pytest.raises(MissingError, match="there is no folder"):
        image_batch(dataset, tmp_path / "absent", 2, seed=0)


def test_requests_that_cannot_be_met(cifar):
    with pytest.raises(
        InputError, match=r"no data set 'flower' \(did you mean 'flowers'\?\); expected one of digits, "
    ):
        image_batch("flower", cifar, 2, seed=0)
    with pytest.raises(
        InputError, match=r"no data set 'imagenet'; expected one of .*chaoyang, or a folder of images of that name"
    ):
        image_batch("imagenet", cifar, 2, seed=0)
    with pytest.raises(InputError, match="images of cifar100 are in no package; name the folder with them"):
        image_batch("cifar100", None, 2, seed=0)
    with pytest.raises(InputError, match="has 20 training images; 21 were asked for"):
        image_batch("cifar100", cifar, 21, seed=0)
    with pytest.raises(InputError, match="a batch of 0 images"):
        image_batch("cifar100", cifar, 0, seed=0)
    with pytest.raises(InputError, match="a batch of 0 images"):
        noise_batch(0, 10, seed=0)
    with pytest.raises(InputError, match="1 classes"):
        noise_batch(2, 1, seed=0)


def test_damaged_files_are_named(cifar, flowers, chaoyang):
    (cifar / "train.bin").write_bytes(b"x" * 3000)
    with pytest.raises(InputError, match="has 3000 bytes; expected a multiple of 3074"):
        image_batch("cifar100", cifar, 1, seed=0)
    (cifar / "train.bin").write_bytes(bytes([0, 200]) + bytes(3072))
    with pytest.raises(InputError, match="label 200 is not in 0 to 99"):
        image_batch("cifar100", cifar, 1, seed=0)
    (flowers / "jpg" / "image_00015.jpg").write_bytes(b"not a picture")
    with pytest.raises(MissingError, match=r"image_00015\.jpg cannot be decoded"):
        image_batch("flowers", flowers, 10, seed=0)
    (flowers / "jpg" / "image_00015.jpg").unlink()
    with pytest.raises(MissingError, match=r"image_00015\.jpg cannot be read: No such file"):
        image_batch("flowers", flowers, 10, seed=0)
    savemat(flowers / "setid.mat", {"trnid": np.array([[31]])})
    with pytest.raises(InputError, match="image numbers are not in 1 to 30"):
        image_batch("flowers", flowers, 1, seed=0)
    (flowers / "setid.mat").write_bytes(b"no matrix here")
    with pytest.raises(InputError, match=r"setid\.mat cannot be read; expected a MATLAB file with `trnid`"):
        image_batch("flowers", flowers, 1, seed=0)
    for text in ('{"name": 1}', '[{"name": "a"}]', "[", '[{"name": "a", "label": "b"}]'):
        (chaoyang / "train.json").write_text(text, encoding="utf-8")
        with pytest.raises(InputError, match=r"train\.json: expected a list"):
            image_batch("chaoyang", chaoyang, 1, seed=0)


def test_resizing_is_that_of_pillow(cifar, chaoyang):
    """Pillow's floating-point bicubic filter, channel by channel, is the oracle; enlarging and reducing."""
    rng = np.random.default_rng(0)
    small = rng.integers(0, 256, (3, 32, 32), dtype=np.uint8)
    (cifar / "train.bin").write_bytes(bytes([0, 5]) + small.tobytes())
    large = rng.integers(0, 256, (300, 411, 3), dtype=np.uint8)
    Image.fromarray(large).save(chaoyang / "train" / "large.png")
    (chaoyang / "train.json").write_text('[{"name": "train/large.png", "label": 1}]', encoding="utf-8")
    square = large[:, 55:355].transpose(2, 0, 1)  # (411 - 300) // 2
    for dataset, folder, planes in (("cifar100", cifar, small), ("chaoyang", chaoyang, square)):
        image = image_batch(dataset, folder, 1, seed=0).images[0].numpy()
        for plane, found, mean, std in zip(planes, image, MEAN, STD, strict=True):
            resized = Image.fromarray(plane.astype(np.float32)).resize((PIXELS, PIXELS), Image.Resampling.BICUBIC)
            np.testing.assert_allclose(found, (np.asarray(resized).clip(0, 255) / 255 - mean) / std, atol=1e-3)


def test_threads_change_no_pixel(flowers):
    threads = torch.get_num_threads()
    batches = []
    try:
        for count in (1, 3):
            torch.set_num_threads(count)
            batches.append(image_batch("flowers", flowers, 4, seed=0))
    finally:
        torch.set_num_threads(threads)
    assert same(*batches)


def test_without_pillow_the_extra_is_named_where_it_is_needed(cifar, flowers, chaoyang, monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    for dataset, folder in (("flowers", flowers), ("chaoyang", chaoyang)):
        with pytest.raises(MissingError, match=r"needs Pillow, which is not installed.*autoprox-vit\[vision\]"):
            image_batch(dataset, folder, 1, seed=0)
    assert len(image_batch("cifar100", cifar, 1, seed=0).images) == 1
