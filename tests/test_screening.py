"""Screened features estimate exact ones; samples are kept, repaired and independent of who took them."""

import re

import numpy as np
import pytest

from autoprox.discovery.evolution import WIDE
from autoprox.errors import InputError, MissingError
from autoprox.language.text import parse, to_text
from autoprox.measuring import screening
from autoprox.measuring.capture import CaptureSettings, block_features
from autoprox.measuring.screening import take_samples
from autoprox.measuring.workers import Notice, Workers
from autoprox.spaces import get_space

SETTINGS = CaptureSettings(batch_size=2, classes=10)
NAMES = (
    "attn.map",
    "fc1.grad",
    "fc1.output",
    "linear.weight",
    "ones.qkv.grad",
    "ones.qkv.weight",
    "qkv.weight",
    "ones.msa.grad",
)
FEATURES = {  # text: largest relative error of a block, and of the sum over the blocks of a network
    "sum(abs(qkv.weight))": (1e-5, 1e-5),
    "mean(square(linear.weight))": (1e-5, 1e-5),
    "l2(square(linear.weight))": (0.2, 0.05),
    "std(exp(qkv.weight))": (0.02, 0.005),
    "sum(sqrt(fc1.grad))": (0.05, 0.02),
    "max(abs(fc1.grad))": (1e-5, 1e-5),
    "max(inverse(fc1.grad))": (1e-4, 1e-4),
    "sum(qkv.weight * ones.qkv.weight * ones.qkv.weight * qkv.weight)": (0.2, 0.05),
    "sum(abs(fc1.output))": (1e-5, 1e-5),
    "mean(log(attn.map))": (0.02, 0.01),
    "sum(softmax(qkv.weight))": (1e-3, 1e-3),
}
PLAIN = ("sum(fc1.output)", "max(qkv.weight)", "l1(linear.weight)", "std(ones.qkv.grad)", "nuclear(qkv.weight)",
         "erank(linear.weight)", "logdet(ones.qkv.grad)", "spectral(ones.msa.grad)", "srank(fc1.grad)",
         "min(attn.map)")  # fmt: skip


class Count:
    """Progress that remembers how much there was to do."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, int, int]] = []

    def __call__(self, stage: str, done: int, total: int) -> None:
        self.calls.append((stage, done, total))

    @property
    def tasks(self) -> int:
        return max((total for _, _, total in self.calls), default=0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, small_networks):
    place = tmp_path_factory.mktemp("samples")
    take_samples(small_networks, NAMES, SETTINGS, place, Workers(1))
    return place


def files(folder):
    return {path.name: path for path in folder.rglob("*.safetensors")}


def screen(networks, folder, names=NAMES, progress=screening.silent):
    return take_samples(networks, names, SETTINGS, folder, Workers(1), progress)


def test_estimates_are_close_to_exact_features(small_networks, folder):
    features = {parse(text): tolerance for text, tolerance in FEATURES.items()}
    found = screen(small_networks, folder).measured(list(features))
    exact = [block_features(network, list(features), SETTINGS) for network in small_networks]
    for feature, (of_block, of_network) in features.items():
        for i, row in enumerate(exact):
            assert found[feature][i].shape == row[feature].shape
            assert found[feature][i].dtype == np.float64
            np.testing.assert_allclose(found[feature][i], row[feature], rtol=of_block, err_msg=to_text(feature))
            assert found[feature][i].sum() == pytest.approx(row[feature].sum(), rel=of_network), to_text(feature)


def test_reductions_of_plain_statistics_are_exact(small_networks, folder):
    features = [parse(text) for text in PLAIN]
    found = screen(small_networks, folder).measured([*features, parse("sum(abs(fc1.grad))")])
    for i, network in enumerate(small_networks):
        exact = block_features(network, features, SETTINGS)
        for feature in features:
            np.testing.assert_allclose(
                found[feature][i], exact[feature], rtol=1e-5, atol=1e-9, err_msg=to_text(feature)
            )


def test_statistics_of_one_shape_are_sampled_at_the_same_elements(small_networks, folder):
    difference = parse("l1(abs(qkv.weight) - ones.qkv.weight)")
    found = screen(small_networks, folder).measured([difference])
    assert all(float(values.max()) == 0 for values in found[difference])


def test_threads_and_chunks_change_nothing(small_networks, folder, monkeypatch):
    features = [parse(text) for text in (*FEATURES, *PLAIN)]
    one = screen(small_networks, folder).measured(features)
    monkeypatch.setattr(screening, "_CHUNK", 1)
    two = screen(small_networks, folder).measured(features, threads=3)
    for feature in features:
        assert [v.tobytes() for v in one[feature]] == [v.tobytes() for v in two[feature]]


def test_networks_come_back_in_the_order_asked_for(small_networks, folder):
    feature = parse("l1(qkv.weight)")
    forth = screen(small_networks, folder).measured([feature])[feature]
    back = screen(small_networks[::-1], folder).measured([feature])[feature]
    assert [v.tolist() for v in forth] == [v.tolist() for v in back[::-1]]


def test_kept_samples_are_used_again_and_damaged_ones_made_again(small_networks, tmp_path):
    names = ("qkv.weight", "fc1.weight")
    count = Count()
    screen(small_networks, tmp_path, names, count)
    assert count.calls == [("sample", done, 3) for done in range(4)]
    before = {name: (path.read_bytes(), path.stat().st_mtime_ns) for name, path in files(tmp_path).items()}
    assert len(before) == 3
    again = Count()
    screen(small_networks, tmp_path, names[::-1], again)
    assert again.calls == []
    flipped = lambda c: c[:-1] + bytes([c[-1] ^ 1])  # noqa: E731 - a number that is not what was written
    for damage in (lambda c: c[: len(c) // 2], lambda c: b"", lambda c: b"\xff" * len(c), lambda c: c[:-1], flipped):
        broken = sorted(files(tmp_path))[1]
        files(tmp_path)[broken].write_bytes(damage(before[broken][0]))
        repair = Count()
        with pytest.warns(Notice, match="the samples of 1 of 3 networks in .* are damaged"):
            screen(small_networks, tmp_path, names, repair)
        assert repair.tasks == 1
        assert {name: path.read_bytes() for name, path in files(tmp_path).items()} == {
            n: b for n, (b, _) in before.items()
        }
    untouched = [name for name in before if name != broken]
    assert all(files(tmp_path)[name].stat().st_mtime_ns == before[name][1] for name in untouched)
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and path.suffix != ".safetensors"]


def test_other_statistics_or_settings_are_sampled_anew(small_networks, tmp_path):
    network = small_networks[:1]
    screen(network, tmp_path, ("qkv.weight",))
    for names, seed in ((("qkv.weight", "fc1.weight"), 0), (("qkv.weight",), 1)):
        count = Count()
        take_samples(network, names, CaptureSettings(seed=seed, batch_size=2, classes=10), tmp_path, Workers(1), count)
        assert count.tasks == 1
    assert len(list(tmp_path.rglob("*.safetensors"))) == 3


def test_two_workers_take_the_same_samples(small_networks, folder, tmp_path, two_workers):
    count = Count()
    take_samples(small_networks, NAMES, SETTINGS, tmp_path, two_workers, count)
    assert count.tasks == 3
    assert {n: p.read_bytes() for n, p in files(tmp_path).items()} == {
        n: p.read_bytes() for n, p in files(folder).items()
    }


def test_what_a_sample_cannot_tell_is_refused(small_networks, folder):
    samples = screen(small_networks, folder)
    for part in ("nuclear(abs(qkv.weight))", "nuclear(fc1.output)", "qkv.weight @ ones.qkv.grad"):
        text = f"sum(abs({part}))" if "@" in part else part
        with pytest.raises(InputError, match=f"{re.escape(part)} can only be measured exactly, not on samples"):
            samples.measured([parse("sum(abs(qkv.weight))"), parse(text)])


def test_what_compares_rows_or_joins_blocks_is_refused(small_networks, folder):
    samples = screen(small_networks, folder)
    for text, part in (
        ("mean(rowmax(attn.map))", "rowmax(attn.map)"),
        ("sum(transpose(qkv.weight))", "transpose(qkv.weight)"),
        ("smallest(correlation(fc1.output))", "correlation(fc1.output)"),
        ("patterns(fc1.output)", "patterns(fc1.output)"),
        ("sum(join(qkv.weight))", "join(qkv.weight)"),
    ):
        with pytest.raises(InputError, match=rf"{re.escape(part)} can only be measured exactly, not on samples"):
            samples.measured([parse(text)])


def test_the_wide_vocabulary_can_be_screened(tmp_path):
    space = get_space("pit-nano")
    networks = [("pit-nano", space.key(space.sample(np.random.default_rng(seed)))) for seed in range(3)]
    samples = take_samples(networks, WIDE.terminals, CaptureSettings(batch_size=2), tmp_path, Workers(1))
    plain = [parse(f"std({name})") for name in WIDE.terminals]
    estimated = [parse("sum(abs(linear.weight * linear.hvp))"), parse("mean(log1p(logits.ffn.grad))")]
    found = samples.measured([*plain, *estimated])
    for i, network in enumerate(networks):
        exact = block_features(network, [*plain, *estimated], CaptureSettings(batch_size=2))
        for feature in plain:
            np.testing.assert_allclose(found[feature][i], exact[feature], rtol=1e-5, err_msg=to_text(feature))
        for feature in estimated:
            assert found[feature][i].sum() == pytest.approx(exact[feature].sum(), rel=0.2), to_text(feature)


def test_a_place_that_cannot_be_written_is_named(small_networks, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(MissingError, match=r"samples of statistics cannot be kept in .*AUTOPROX_HOME"):
        screen(small_networks, tmp_path / "file" / "samples", ("qkv.weight",))
