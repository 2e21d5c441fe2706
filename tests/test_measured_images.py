"""``--dataset``, ``--data-root`` and ``--augment``: what networks are measured on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from autoprox.api.captures import capture_settings
from autoprox.errors import InputError
from autoprox.measuring.capture import CaptureSettings, batch_of
from autoprox.measuring.images import image_batch
from autoprox.spaces import get_space
from tests.commands import Captured, fails, prints
from tests.image_files import write_chaoyang, write_flowers

SNIP = "sum(sum(abs(linear.weight*linear.grad)))"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AUTOPROX_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def photographs(folder: Path, classes: int = 3) -> Path:
    """A folder of images with a folder for each class, each with a gradient, so that a crop can be told."""
    for label in range(classes):
        (folder / f"class-{label}").mkdir(parents=True)
        for number in range(10):
            image = Image.linear_gradient("L").resize((40, 40)).rotate(90 * label)
            image.point(lambda v, n=number: v * (n + 1) // 10).convert("RGB").save(
                folder / f"class-{label}/{number}.png"
            )
    return folder


def test_augmented_batches_are_seeded_and_have_a_key_of_their_own(here: Path) -> None:
    photographs(here / "photos")
    plain, one, two = (image_batch("photos", here, 4, 3, 48, augment) for augment in (False, True, True))
    assert torch.equal(one.images, two.images)
    assert torch.equal(plain.labels, one.labels)
    assert not torch.allclose(plain.images, one.images, atol=0.1)
    assert one.key == two.key == f"{plain.key}:augmented"
    assert plain.classes == 3
    assert not torch.equal(one.images, image_batch("photos", here, 4, 4, 48, True).images)
    state = torch.get_rng_state()
    image_batch("photos", here, 4, 3, 48, True)
    assert torch.equal(state, torch.get_rng_state()), "the global generator must stay as it was"


def test_augmentation_is_recorded_only_where_there_is_any(here: Path) -> None:
    photographs(here / "photos")
    settings = [capture_settings(4, 0, dataset=str(here / "photos"), augment=augment) for augment in (False, True)]
    plain, augmented = (s.to_json() for s in settings)
    assert "augment" not in plain  # older memos know none, and stay warm
    assert augmented == {**plain, "augment": True}
    assert settings[0].key() != settings[1].key()
    assert plain["dataset"] == "photos"
    assert str(here) not in settings[0].key()


@pytest.mark.parametrize("name", ["./photos", "photos", "PHOTOS"])
def test_a_folder_of_images_is_given_by_its_path_or_by_its_name_in_the_root(name: str, here: Path) -> None:
    photographs(here / ("PHOTOS" if name == "PHOTOS" else "photos"))
    root = None if "/" in name else here
    settings = capture_settings(4, 0, root, dataset="photos" if name == "PHOTOS" else name)
    batch = batch_of(settings, get_space("pit-nano"))
    assert batch.classes == settings.classes == 3
    assert batch.images.shape == (4, 3, 24, 24)


def test_the_images_of_a_search_and_of_scores_are_the_same(here: Path, capsys: Captured) -> None:
    photographs(here / "photos")
    asked = ["--dataset", "./photos", "--augment", "--workers", "1"]
    record = prints(capsys, ["search", "--proxy", SNIP, "--space", "pit-nano", "--evaluations", "6", *asked])
    assert record["provenance"]["classes"] == 3
    capture = record["provenance"]["capture"]
    assert (capture["dataset"], capture["classes"], capture["augment"]) == ("photos", 3, True)

    def score(*more: str) -> Any:
        return prints(capsys, ["score", "--proxy", SNIP, "--model", "arch.json", "--workers", "1", *more])["scores"][0][
            "score"
        ]

    assert score(*asked) == pytest.approx(record["score"])
    assert score("--dataset", "./photos") != pytest.approx(record["score"])
    assert score() != pytest.approx(record["score"])
    assert score("--dataset", "digits") != pytest.approx(score())


@pytest.mark.parametrize("name", ["flowers", "chaoyang"])
def test_published_data_sets_from_a_root(name: str, here: Path, capsys: Captured) -> None:
    (write_flowers if name == "flowers" else write_chaoyang)(here / "data")
    record = prints(capsys, [
        "search", "--proxy", SNIP, "--space", "pit-nano", "--evaluations", "4", "--dataset", name, "--data-root", "data",
        "--workers", "1",
    ])  # fmt: skip
    assert record["provenance"]["capture"]["dataset"] == name
    assert record["provenance"]["classes"] == {"flowers": 102, "chaoyang": 4}[name]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--augment"], "noise images cannot be augmented; name real ones with --data-root or --dataset"),
        (["--dataset", "cifar100"], "the images of cifar100 are in no package; name the folder with them"),
        (["--dataset", "digit"], "did you mean 'digits'"),
        (["--dataset", "photos", "--data-root", "."], "or a folder of images of that name in "),
        (["--dataset", "./photos"], "or a folder of images of that name in "),
    ],
)
def test_mistakes(more: list[str], message: str, here: Path, capsys: Captured) -> None:
    code, line = fails(capsys, ["search", "--proxy", "snip", "--space", "pit-nano", *more])
    assert code == 2
    assert message in line
    assert not (here / "runs").exists()


def test_the_python_version_of_cifar100_is_refused_with_a_reason(here: Path, capsys: Captured) -> None:
    (here / "data" / "cifar-100-python").mkdir(parents=True)
    (here / "data" / "cifar-100-python" / "train").write_bytes(b"\x80\x04.")
    code, line = fails(capsys, ["search", "--proxy", "snip", "--dataset", "cifar100", "--data-root", "data"])
    assert code == 2
    assert "download the binary version (cifar-100-binary.tar.gz)" in line
    with pytest.raises(InputError, match="is a pickle"):
        image_batch("cifar100", here / "data", 1, 0)


def test_noise_stays_what_it_was() -> None:
    assert CaptureSettings().to_json() == {
        "batch_size": 8, "classes": None, "seed": 0, "init": "shared", "dataset": None, "device": "cpu", "dtype": "float32"
    }  # fmt: skip
