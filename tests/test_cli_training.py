"""`train`, `bench build` and `bench retrain`: what they make, what survives a kill, and what is refused."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from autoprox.building import retraining, stratified
from autoprox.cli import run
from autoprox.cli.application import spread
from autoprox.errors import InputError
from autoprox.spaces import get_space
from autoprox.spaces.architecture_file import ArchitectureFile, save_architecture
from autoprox.training import DivergedError, memory, recipe_for
from autoprox.training.fitting import Fitting
from autoprox.training.pictures import pictures_of
from benchdata import Benchmark, Row, load_benchmark, write_benchmark
from tests.commands import fails, prints, shows
from tests.image_files import write_classes

ROOT = Path(__file__).parent.parent
building = importlib.import_module("autoprox.building.build")  # which the function of that name hides
Captured = pytest.CaptureFixture[str]

TRAIN = ["train", "arch.json", "--dataset", "digits", "--epochs", "2"]
BUILD = [
    "bench", "build", "--space", "autoformer-nano", "pit-nano", "--dataset", "digits", "--architectures", "2",
    "--seeds", "2", "--epochs", "1", "--workers", "1",
]  # fmt: skip
NAME = "autoformer-nano-pit-nano-digits"


@pytest.fixture(autouse=True)
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An empty home, no tables, 80 columns, a small architecture, and a working folder of its own."""
    monkeypatch.setenv("AUTOPROX_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.delenv("AUTOPROX_BENCHMARKS", raising=False)
    monkeypatch.setattr("benchdata._lookup._EMBEDDED", tmp_path / "embedded")
    monkeypatch.chdir(tmp_path)
    write_architecture("autoformer-nano")
    yield
    pictures_of.cache_clear()


def write_architecture(name: str, path: str = "arch.json") -> None:
    space = get_space(name)
    smallest = space.smallest()
    found = ArchitectureFile(name, space.to_json(smallest), space.params(smallest), space.flops(smallest), 0.0, {})
    save_architecture(Path(path), found)


def started(arguments: list[str], **options: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "autoprox", *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options,
    )  # fmt: skip


def killed(arguments: list[str], ready: Callable[[], bool]) -> None:
    """Start a process and kill it once it is ready."""
    process = started(arguments)
    deadline = time.monotonic() + 60
    while not ready() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    process.kill()
    output, errors = process.communicate(timeout=60)
    assert output == ""
    assert "Traceback" not in errors
    assert process.returncode == -signal.SIGKILL, errors


def lines(folder: str) -> int:
    path = Path(folder, "journal.jsonl")
    return path.read_text().count("\n") if path.exists() else 0


def images(name: str, count: int = 8) -> Path:
    return write_classes(Path(name), {"cat": count, "dog": count})


def damage(path: Path) -> bytes:
    """Fill an image with something else of the same size; returns what it was."""
    before = path.read_bytes()
    path.write_bytes(b"x" * len(before))
    pictures_of.cache_clear()
    return before


# train


def test_a_training_is_printed_and_kept(capsys: Captured) -> None:
    record = prints(capsys, TRAIN)
    assert record.pop("out") == "runs/train-1"
    assert record == json.loads(Path("runs/train-1/training.json").read_text())
    assert record["format"] == "autoprox-training"
    assert (record["space"], record["dataset"], record["classes"]) == ("autoformer-nano", "digits", 10)
    assert record["recipe"]["epochs"] == 2
    low, high = record["test_interval"]
    assert 0 <= low < record["test_accuracy"] < high <= 100
    space = get_space("autoformer-nano")
    shapes = {name: tuple(p.shape) for name, p in space.skeleton(space.smallest()).named_parameters()}
    weights = load_file("runs/train-1/model.safetensors")
    assert {name: tuple(weights[name].shape) for name in shapes} == shapes
    journal = [json.loads(line) for line in Path("runs/train-1/journal.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in journal] == [1, 2]
    assert journal[-1]["validation_accuracy"] == record["validation_accuracy"]


def test_a_training_is_shown_as_a_table(capsys: Captured) -> None:
    text = shows(capsys, [*TRAIN, "--out", "own", "--seed", "3", "--batch-size", "100", "--learning-rate", "0.001"])
    for part in ("test accuracy [95 %]", "800 images", "validation accuracy", "3.29 k", "own/model.safetensors"):
        assert part in text
    record = json.loads(Path("own/training.json").read_text())
    assert (record["seed"], record["recipe"]["batch_size"], record["recipe"]["learning_rate"]) == (3, 100, 0.001)


def test_a_training_that_was_killed_goes_on_to_the_same_end(capsys: Captured) -> None:
    arguments = [*TRAIN[:-1], "20"]
    killed(arguments, lambda: lines("runs/train-1") >= 2)
    assert 2 <= lines("runs/train-1") < 20
    write_architecture("pit-nano")  # as another search does; the training knows its own
    resumed = prints(capsys, ["train", "--resume"])
    write_architecture("autoformer-nano")
    whole = prints(capsys, [*arguments, "--out", "whole"])
    for record in (resumed, whole):
        del record["out"], record["seconds"]
    assert resumed == whole
    assert Path("runs/train-1/model.safetensors").read_bytes() == Path("whole/model.safetensors").read_bytes()
    kept = {path.name for path in Path("runs/train-1").iterdir()}
    assert {name for name in kept if "epoch-" in name} == {"epoch-20.safetensors"}


def test_ctrl_c_stops_a_training_after_an_epoch(monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    epoch = Fitting.epoch

    def interrupted(*arguments: Any) -> Any:
        signal.raise_signal(signal.SIGINT)
        return epoch(*arguments)

    monkeypatch.setattr(Fitting, "epoch", interrupted)
    read, write = os.pipe()
    with monkeypatch.context() as changes:
        changes.setattr("autoprox.report.progress._write", lambda text: os.write(write, text.encode()))
        code, text = fails(capsys, TRAIN)
    assert code == 130
    assert text.endswith("stopped after epoch 1 of 2; go on with --resume --out runs/train-1")
    assert b"go on later with --resume --out runs/train-1 (Ctrl-C again: at once)" in os.read(read, 1000)
    monkeypatch.setattr(Fitting, "epoch", epoch)
    assert len(prints(capsys, ["train", "--resume"])) > 10
    assert lines("runs/train-1") == 2


def test_a_finished_training_can_be_resumed_and_not_repeated(capsys: Captured) -> None:
    first = prints(capsys, [*TRAIN, "--out", "own"])
    again = prints(capsys, ["train", "--resume", "--out", "own"])
    assert {**again, "seconds": 0} == {**first, "seconds": 0}
    code, text = fails(capsys, [*TRAIN, "--out", "own"])
    assert (code, "continue it with --resume, or name another folder with --out" in text) == (2, True)
    code, text = fails(capsys, ["train", "--resume", "--out", "own", "--epochs", "3"])
    assert code == 2
    assert "has recipe.epochs = 2, now 3 is asked for" in text
    assert text.endswith("or name another folder with --out")


def test_a_loss_that_is_not_finite_is_one_sentence(capsys: Captured) -> None:
    code, text = fails(capsys, [*TRAIN, "--learning-rate", "1e30"])
    assert code == 2
    assert "expected a finite number: lower the learning rate (1e+30)" in text
    assert not list(Path("runs").iterdir())


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["train", "--dataset", "digits"], 2, "train needs an architecture file"),
        (["train", "arch.json"], 2, "train needs images"),
        (["train", "absent.json", "--dataset", "digits"], 2, "there is no architecture file absent.json"),
        (["train", "arch.json", "--dataset", "digit"], 2, "did you mean 'digits'"),
        (["train", "arch.json", "--dataset", "./absent"], 3, "there is no folder absent"),
        (["train", "arch.json", "--dataset", "./empty"], 2, "no folder in it"),
        (["train", "arch.json", "--dataset", "./one"], 2, "one class only, 'cat'"),
        (["train", "arch.json", "--dataset", "./hollow"], 2, "hollow/dog holds no image"),
        (["train", "arch.json", "--dataset", "cifar100"], 2, "name the folder with them by --data-root"),
        ([*TRAIN, "--learning-rate", "nan"], 2, "learning rate is nan; expected a positive number"),
        ([*TRAIN, "--learning-rate", "-1"], 2, "expected a positive number"),
        ([*TRAIN, "--epochs", "0"], 2, "--epochs"),
        ([*TRAIN, "--batch-size", "0"], 2, "--batch-size"),
        ([*TRAIN, "--device", "abacus"], 2, "device 'abacus' cannot be used"),
        ([*TRAIN, "--out", "arch.json"], 3, "cannot make the run folder arch.json"),
        (["train", "--resume"], 2, "name its folder with --out"),
        (["train", "--resume", "--out", "absent"], 2, "there is no run to resume in absent"),
    ],
)
def test_a_wrong_training_leaves_nothing_behind(
    arguments: list[str], code: int, message: str, capsys: Captured, tmp_path: Path
) -> None:
    write_classes(Path("one"), {"cat": 8})
    write_classes(Path("hollow"), {"cat": 8, "dog": 0})
    Path("empty").mkdir()
    found, text = fails(capsys, arguments)
    assert message in text
    assert found == code
    assert sorted(path.name for path in tmp_path.iterdir()) == ["arch.json", "empty", "hollow", "one"]


def test_networks_that_read_no_images_are_not_trained_on_them() -> None:
    with pytest.raises(InputError, match="networks of pit-nano read no images"):
        recipe_for(replace(get_space("pit-nano"), image_size=0))


def test_two_processes_never_train_in_one_folder(capsys: Captured) -> None:
    claim = (
        "import pathlib, time, autoprox.run_folder as r\n"
        "with r.claimed(pathlib.Path('own')): print(1, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", claim], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            code, text = fails(capsys, [*TRAIN, "--out", "own"])
        finally:
            process.kill()
    assert code == 2
    assert "another process is at work in own; wait until it ends, or name another folder with --out" in text


def test_a_batch_beyond_the_memory_is_refused_before_anything_runs(
    monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.setattr(memory, "memory_available", lambda device: 2**20)
    code, text = fails(capsys, [*TRAIN, "--batch-size", "4096"])
    assert code == 3
    assert "with batches of 4096 images takes about 0." in text
    assert "GiB of memory are free; use a smaller --batch-size" in text
    assert "--workers" not in text
    code, text = fails(capsys, [*BUILD[:-1], "3"])
    assert code == 3
    assert "GiB in each of 3 workers" in text
    assert not list(Path("runs").glob("*"))


def test_an_image_that_cannot_be_read_is_named(capsys: Captured) -> None:
    folder = images("pets")
    before = damage(folder / "dog" / "3.png")
    arguments = ["train", "arch.json", "--dataset", "./pets", "--epochs", "1"]
    code, text = fails(capsys, arguments)
    assert code == 3
    assert "pets/dog/3.png cannot be decoded" in text
    assert not list(Path("runs").iterdir())
    (folder / "dog" / "3.png").write_bytes(before)
    pictures_of.cache_clear()
    assert prints(capsys, arguments)["dataset"] == "pets"


def test_a_full_disk_is_one_sentence() -> None:
    resource = pytest.importorskip("resource", reason="this system cannot limit the size of a file")

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (8000, 8000))  # a checkpoint is larger

    process = started(TRAIN, preexec_fn=limited)
    output, errors = process.communicate(timeout=60)
    assert (process.returncode, output) == (3, "")
    assert errors.splitlines()[-1].startswith("autoprox: cannot write runs/train-1/epoch-1.safetensors: ")
    assert "Traceback" not in errors


# bench build


def csv(home: str = "home", name: str = NAME) -> dict[str, bytes]:
    found = {path.name: path.read_bytes() for path in Path(home, "benchmarks", name).glob("*.csv")}
    assert found
    return found


def test_a_build_makes_a_table_that_is_found_by_its_name(capsys: Captured) -> None:
    record = prints(capsys, [*BUILD, "--architectures", "3"])
    assert (record["name"], record["rows"], record["trainings"], record["failures"]) == (NAME, 6, 12, [])
    assert record["spaces"] == {"autoformer-nano": 3, "pit-nano": 3}
    table = load_benchmark(NAME)
    assert table.content_hash == record["content_hash"]
    assert table.labels("pit-nano", "digits") == ("mean", "seed-0", "seed-1")
    for row in table.rows:
        seeds = [row.accuracy["digits", f"seed-{seed}"] for seed in (0, 1)]
        assert row.accuracy["digits", "mean"] == pytest.approx(sum(seeds) / 2, abs=1e-4)
    assert table.provenance["recipes"]["pit-nano"]["epochs"] == 1
    assert list(table.provenance["data"]) == ["digits"]
    shows(capsys, ["bench", "show", NAME])
    rows = prints(capsys, ["rank", "--proxy", "params", "--bench", NAME, "--spaces", "pit-nano"])["rows"]
    assert rows[0]["label"] == "mean"


def test_a_build_says_what_to_do_next(capsys: Captured) -> None:
    arguments = [*BUILD, "--seeds", "1", "--architectures", "1"]
    text = shows(capsys, [*arguments, "--name", "mine"])
    assert "2 trainings in 0:0" in text
    assert "autoprox bench show mine" in text
    assert "bench show own/table" in shows(capsys, [*arguments, "--name", "mine", "--out", "own/table"])
    assert load_benchmark("own/table").name == "mine"
    code, text = fails(capsys, [*arguments, "--name", "mine"])
    assert code == 2
    assert "benchmarks/mine; choose another --name or --out, remove it, or go on with its build by --resume" in text


def test_a_build_that_was_killed_twice_makes_the_same_table(capsys: Captured) -> None:
    for begin, count in ((BUILD, 2), (["bench", "build", "--resume", "--workers", "1"], 4)):
        killed(begin, lambda count=count: lines("runs/build-1") >= count)
    assert 4 <= lines("runs/build-1") < 8
    prints(capsys, ["bench", "build", "--resume", "--workers", "1"])
    table = csv()
    assert not Path("runs/build-1/unfinished").exists()
    prints(capsys, [*BUILD[:-1], "2", "--out", "other/benchmarks/table"])
    assert csv("other", "table") == table


def test_ctrl_c_stops_a_build_after_a_training(monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    train = building.train

    def interrupted(*arguments: Any, **options: Any) -> Any:
        signal.raise_signal(signal.SIGINT)
        return train(*arguments, **options)

    monkeypatch.setattr(building, "train", interrupted)
    monkeypatch.setattr("autoprox.report.progress._write", lambda text: None)
    code, text = fails(capsys, BUILD)
    assert code == 130
    assert text.endswith("stopped after 1 of 8 trainings; go on with --resume --run-dir runs/build-1")
    monkeypatch.setattr(building, "train", train)
    assert lines("runs/build-1") == 1
    assert prints(capsys, ["bench", "build", "--resume", "--workers", "1"])["trainings"] == 8


def test_a_build_grows_and_remembers_it(capsys: Captured) -> None:
    first = [*BUILD, "--seeds", "1", "--name", "mine"]
    first.remove("pit-nano")
    prints(capsys, first)
    small = load_benchmark("mine")
    again = ["bench", "build", "--resume", "--run-dir", "runs/build-1", "--workers", "1"]
    code, text = fails(capsys, [*again, "--seeds", "9", "--seed", "1"])  # other architectures: another run
    assert (code, "has sample = 0, now 1 is asked for" in text) == (2, True)
    assert len(prints(capsys, again)["spaces"]) == 1
    assert load_benchmark("mine").content_hash == small.content_hash
    grown = ["--seeds", "2", "--architectures", "3", "--space", "autoformer-nano", "pit-nano"]
    record = prints(capsys, [*again, *grown])
    assert (record["trainings"], record["rows"]) == (12, 6)
    assert lines("runs/build-1") == 12
    assert prints(capsys, again)["content_hash"] == record["content_hash"]
    large = load_benchmark("mine")
    for row in small.rows:
        same = next(other for other in large.rows if other.architecture == row.architecture)
        assert same.accuracy["digits", "seed-0"] == row.accuracy["digits", "seed-0"]


def test_failed_trainings_are_kept_with_their_reason(monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    train, seen = building.train, []

    def unlucky(task: Any, *arguments: Any, **options: Any) -> Any:
        if task.seed == 1 and task.space == "pit-nano" and not seen:
            seen.append(task)
            raise DivergedError("the loss became nan in epoch 1")
        return train(task, *arguments, **options)

    monkeypatch.setattr(building, "train", unlucky)
    text = shows(capsys, BUILD)
    assert "1 failed" in text
    assert "failed: pit-nano, digits, seed 1: the loss became nan in epoch 1" in text
    table = load_benchmark(NAME)
    assert [(f["space"], f["seed"], f["failure"]) for f in table.provenance["failures"]] == [
        ("pit-nano", 1, "the loss became nan in epoch 1")
    ]
    assert sorted(len(row.accuracy) for row in table.rows) == [1, 3, 3, 3]  # no mean without all seeds
    monkeypatch.setattr(building, "train", train)
    prints(capsys, ["bench", "build", "--resume"])  # a failure is a result: it is not tried again
    assert load_benchmark(NAME).content_hash == table.content_hash


def test_a_build_in_which_nothing_is_learnt_makes_no_table(capsys: Captured) -> None:
    capsys.readouterr()
    assert run([*BUILD, "--learning-rate", "1e30"]) == 2
    assert (
        "no architecture of autoformer-nano was trained well with every seed (the loss became"
        in capsys.readouterr().err
    )
    assert not Path("home/benchmarks", NAME).exists()


def test_records_outlive_broken_data(capsys: Captured) -> None:
    folder = images("pets")
    arguments = [
        "bench", "build", "--space", "pit-nano", "--dataset", "./pets", "--architectures", "2", "--epochs", "1",
        "--workers", "1", "--seeds", "1",
    ]  # fmt: skip
    prints(capsys, arguments)
    again = ["bench", "build", "--resume", "--run-dir", "runs/build-1", "--workers", "1", "--seeds", "2"]
    image = folder / "cat" / "0.png"
    before = damage(image)
    code, text = fails(capsys, again)
    assert (code, "pets/cat/0.png cannot be decoded" in text) == (3, True)
    image.write_bytes(before[:-1])
    pictures_of.cache_clear()
    code, text = fails(capsys, again)
    assert (code, "the images of pets have changed since runs/build-1 was begun" in text) == (2, True)
    shutil.move("pets", "away")
    pictures_of.cache_clear()
    code, text = fails(capsys, again)
    assert (code, "there is no folder pets" in text) == (3, True)
    assert lines("runs/build-1") == 2
    shutil.move("away", "pets")
    image.write_bytes(before)
    pictures_of.cache_clear()
    assert prints(capsys, again)["trainings"] == 4


def test_a_build_that_fails_at_its_first_training_leaves_nothing(capsys: Captured) -> None:
    damage(images("pets") / "cat" / "0.png")
    code, text = fails(capsys, ["./pets" if argument == "digits" else argument for argument in BUILD])
    assert (code, "pets/cat/0.png cannot be decoded" in text) == (3, True)
    assert not list(Path("runs").iterdir())
    assert not list(Path("home/benchmarks").iterdir())


def test_what_a_kill_has_left_half_written_is_made_again(capsys: Captured) -> None:
    arguments = [*BUILD, "--name", "mine"]
    prints(capsys, arguments)
    whole = csv(name="mine")
    shutil.move("runs/build-1", "runs/build-2")
    for name in ("journal.jsonl", "state.json"):
        Path("runs/build-2", name).unlink()
    space = get_space("autoformer-nano")
    first = stratified(space, 1, 0)[0]
    half = Path("runs/build-2/unfinished", building._digest(("autoformer-nano", space.key(first), "digits", 0)))
    half.mkdir(parents=True)
    (half / "settings.json").write_text("{")
    prints(capsys, ["bench", "build", "--resume", "--workers", "1"])
    assert csv(name="mine") == whole


@pytest.mark.parametrize(
    ("seeds", "message"),
    [
        ("0", "asks for 0 seeds"),
        ("1001", "from 1 to 1000"),
        ("4,,5", "'4,,5' says no seeds; expected how many, such as 3, or a list, such as 4,7,9"),
        (",", "says no seeds"),
        ("a", "'a' says no seeds"),
        ("1.5", "says no seeds"),
        ("-1", "says no seeds"),
        ("1,1", "the seed 1 is given twice"),
        ("9223372036854775808,", "too large"),
    ],
)
def test_senseless_seeds_are_refused(seeds: str, message: str, capsys: Captured) -> None:
    code, text = fails(capsys, [*BUILD, f"--seeds={seeds}"])
    assert code == 2
    assert message in text


def test_seeds_may_be_a_list(capsys: Captured) -> None:
    prints(capsys, [*BUILD, "--seeds", "7,", "--architectures", "1"])
    assert load_benchmark(NAME).labels("pit-nano", "digits") == ("mean", "seed-7")


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["bench", "build"], 2, "bench build needs --space --dataset --architectures --seeds"),
        ([*BUILD, "--dataset", "digit"], 2, "did you mean 'digits'"),
        ([*BUILD, "--dataset", "digits"], 2, "the data set digits is given twice"),
        ([*BUILD, "--space", "pit-nano"], 2, "the space pit-nano is given twice"),
        ([*BUILD, "--space", "pit"], 2, "there is no space 'pit'"),
        ([*BUILD, "--dataset", "./a/pets", "./b/pets"], 2, "are both called pets; rename a folder"),
        ([*BUILD, "--architectures", "100000"], 2, "ask for at most"),
        ([*BUILD, "--architectures", "0"], 2, "--architectures"),
        ([*BUILD, "--name", "My Table"], 2, "the name 'My Table' cannot be that of a table"),
        ([*BUILD, "--name", "../x"], 2, "cannot be that of a table"),
        ([*BUILD, "--name", "vit-bench-101"], 2, "the name of a public table"),
        ([*BUILD, "--out", "a"], 2, "a free place or a benchmark to replace"),
        ([*BUILD, "--out", "arch.json"], 2, "a free place or a benchmark to replace"),
        ([*BUILD, "--out", "arch.json/table"], 3, "arch.json"),
        ([*BUILD, "--learning-rate", "0"], 2, "learning rate is 0.0; expected a positive number"),
        (["bench", "build", "--resume"], 2, "there is no build run in runs/ to resume"),
    ],
)
def test_a_wrong_build_leaves_nothing_behind(arguments: list[str], code: int, message: str, capsys: Captured) -> None:
    images("a/pets")
    images("b/pets")
    found, text = fails(capsys, arguments)
    assert message in text
    assert found == code
    assert not list(Path("runs").glob("*"))
    assert not Path("home").exists() or not list(Path("home/benchmarks").glob("*"))


def test_several_values_may_follow_one_option() -> None:
    assert spread(["bench", "build", "--space", "a", "b", "--seeds", "4,7", "--dataset=c", "d", "--json"]) == [
        "bench", "build", "--space", "a", "--space", "b", "--seeds", "4,7", "--dataset=c", "--dataset", "d", "--json",
    ]  # fmt: skip
    for other in (["bench", "show", "--space", "a", "b"], ["bench"], ["train", "--dataset", "a", "b"]):
        assert spread(other) == other


def test_help_names_the_commands(capsys: Captured) -> None:
    assert "train " in shows(capsys, ["--help"])
    text = shows(capsys, ["bench", "--help"])
    assert "build" in text
    assert "retrain" in text
    for command in (["train"], ["bench", "build"], ["bench", "retrain"]):
        assert "--data-root" in shows(capsys, [*command, "--help"])


# bench retrain


def altered(table: Benchmark, points: float) -> None:
    """Write the table with other accuracies of single trainings."""
    rows = [
        replace(row, accuracy={k: v if k[1] == "mean" else (v + points) % 100 for k, v in row.accuracy.items()})
        for row in table.rows
    ]
    write_benchmark(replace(table, rows=tuple(rows)), Path("home/benchmarks", table.name))


def test_what_was_built_can_be_made_again(capsys: Captured) -> None:
    prints(capsys, [*BUILD, "--architectures", "3"])
    arguments = ["bench", "retrain", NAME, "--workers", "1", "--rows"]
    record = prints(capsys, [*arguments, "4", "--seed", "5"])
    assert record["within"] is True
    assert len(record["rows"]) == 4
    table = load_benchmark(NAME)
    for row in record["rows"]:
        assert row["retrained"] == row["recorded"]
        assert row["difference"] == 0
        there = next(r for r in table.select(row["space"]) if r.architecture == row["architecture"])
        assert there.accuracy["digits", f"seed-{row['seed']}"] == row["recorded"]
        assert row["bound"] == pytest.approx(1.96 * 2**0.5 * row["seed_noise"], rel=1e-4)
    text = shows(capsys, [*arguments, "1"])
    assert "1 of 1 are within 1.96·√2·noise of what" in " ".join(text.split())
    altered(table, 50)
    assert run([*arguments, "2"]) == 3
    output = capsys.readouterr()
    assert "no" in output.out
    assert "2 of 2 trainings came to another accuracy than" in output.err
    code, text = fails(capsys, [*arguments, "13"])
    assert (code, "has 12 accuracies of single trainings, 13 are asked for" in text) == (2, True)


def test_without_seed_noise_only_the_same_accuracy_will_do() -> None:
    same = retraining.Retrained("s", {}, "d", 0, 50.0, 50.0, None, None)
    assert same.within
    assert not replace(same, retrained=50.01).within
    assert replace(same, retrained=52.0, seed_noise=1.0).within
    assert not replace(same, retrained=53.0, seed_noise=1.0).within
    assert not replace(same, retrained=None, failure="nan", seed_noise=1.0).within


def test_a_table_that_does_not_say_how_it_was_made(capsys: Captured) -> None:
    space = get_space("pit-nano")
    row = Row("pit-nano", space.to_json(space.smallest()), {("digits", "seed-0"): 50.0}, "own")
    table = Benchmark("own", "t", "s", "l", "seed-0", ("digits",), (), (row,))
    write_benchmark(table, Path("own"))
    code, text = fails(capsys, ["bench", "retrain", "./own"])
    assert code == 2
    assert "retraining needs a table that 'autoprox bench build' has made" in text


def test_images_of_a_folder_are_named_and_checked(capsys: Captured) -> None:
    folder = images("pets")
    prints(capsys, [
        "bench", "build", "--space", "pit-nano", "--dataset", "./pets", "--architectures", "1", "--seeds", "1",
        "--epochs", "1", "--workers", "1", "--name", "mine",
    ])  # fmt: skip
    arguments = ["bench", "retrain", "mine", "--workers", "1", "--rows", "1"]
    code, text = fails(capsys, arguments)
    assert (code, "made with images of a folder pets; say where it is with --dataset DIR" in text) == (2, True)
    shutil.move("pets", "renamed")
    assert prints(capsys, [*arguments, "--dataset", "./renamed"])["within"]
    code, text = fails(capsys, [*arguments, "--dataset", "digits"])
    assert (code, "mine has no data set digits; it has pets" in text) == (2, True)
    shutil.move("renamed", "pets")
    (folder / "cat" / "0.png").unlink()
    pictures_of.cache_clear()
    code, text = fails(capsys, [*arguments, "--dataset", "./pets"])
    assert (code, "the images of pets are not those that mine was made with" in text) == (2, True)
