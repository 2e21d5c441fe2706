"""Measuring many networks: what is known is not captured again; workers change nothing; interruptions lose nothing."""

import time

import numpy as np
import pytest
import torch

from autoprox.errors import InputError
from autoprox.language.text import parse, to_text
from autoprox.measuring import measure
from autoprox.measuring.capture import CaptureSettings, block_features, capture
from autoprox.measuring.measure import measured
from autoprox.measuring.store import FeatureStore
from autoprox.measuring.workers import Workers

SETTINGS = CaptureSettings(batch_size=2, classes=10)
FEATURES = [parse(t) for t in ("l1(qkv.weight)", "sum(fc1.grad)", "nuclear(proj.weight)", "mean(ones.fc2.output)")]


@pytest.fixture
def captures(monkeypatch):
    """The captures that were made, as (network, texts, settings)."""
    made = []

    def counted(network, features, settings):
        made.append((network, [to_text(f) for f in features], settings))
        return block_features(network, features, settings)

    monkeypatch.setattr(measure, "block_features", counted)
    return made


@pytest.fixture
def memo(tmp_path):
    with FeatureStore(tmp_path / "memo.sqlite") as store:
        yield store


def bits(rows):
    return [{to_text(feature): values.tobytes() for feature, values in row.items()} for row in rows]


def test_measured_features_are_those_of_the_capture(small_networks, memo):
    rows = measured(small_networks, FEATURES, SETTINGS, memo, Workers(1))
    for network, row in zip(small_networks, rows, strict=True):
        exact = block_features(network, FEATURES, SETTINGS)
        assert list(row) == FEATURES
        for feature in FEATURES:
            np.testing.assert_array_equal(row[feature], exact[feature])


def test_a_number_is_captured_once_ever(small_networks, memo, tmp_path, captures):
    networks = [*small_networks[:2], small_networks[0]]
    first = measured(networks, FEATURES[:2], SETTINGS, memo, Workers(1))
    assert len(captures) == 2  # one a network, though weights, which need no batch, are known apart from what needs one
    assert first[0] is not first[2]
    assert bits(first)[0] == bits(first)[2]
    captures.clear()
    with FeatureStore(tmp_path / "memo.sqlite") as again:
        assert bits(measured(networks, FEATURES[:2], SETTINGS, again, Workers(1))) == bits(first)
    assert captures == []
    measured(small_networks, [FEATURES[0], FEATURES[2], FEATURES[2]], SETTINGS, memo, Workers(1))
    assert [(network, texts) for network, texts, _ in captures] == [
        (small_networks[0], ["nuclear(proj.weight)"]),
        (small_networks[1], ["nuclear(proj.weight)"]),
        (small_networks[2], ["l1(qkv.weight)", "nuclear(proj.weight)"]),
    ]


def test_weights_and_ones_are_known_for_every_batch(small_networks, memo, captures):
    network, features = small_networks[:1], [FEATURES[0], FEATURES[3]]
    first = measured(network, features, SETTINGS, memo, Workers(1))
    captures.clear()
    for other in (CaptureSettings(batch_size=5, classes=10), CaptureSettings(batch_size=1, classes=10)):
        assert bits(measured(network, features, other, memo, Workers(1))) == bits(first)
    assert captures == []
    measured(network, FEATURES[1:2], SETTINGS, memo, Workers(1))
    measured(network, FEATURES[1:2], CaptureSettings(batch_size=1, classes=10), memo, Workers(1))
    measured(network, features[:1], CaptureSettings(batch_size=2, classes=10, seed=1), memo, Workers(1))
    assert len(captures) == 3


def test_two_workers_measure_the_same_bits(small_networks, tmp_path, two_workers):
    found = []
    for count, workers in ((1, Workers(1)), (2, two_workers)):
        with FeatureStore(tmp_path / f"{count}.sqlite") as store:
            found.append(bits(measured(small_networks, FEATURES, SETTINGS, store, workers)))
            kept = store.read(SETTINGS.key(), ["|".join(n) for n in small_networks], [to_text(FEATURES[1])])
            assert all(len(row) == 1 for row in kept.values())
    assert found[0] == found[1]


def test_what_was_measured_before_an_interruption_is_kept(small_networks, memo, monkeypatch, captures):
    plain = measure.block_features

    def stopping(network, features, settings):
        if network == small_networks[2]:
            raise KeyboardInterrupt
        return plain(network, features, settings)

    monkeypatch.setattr(measure, "block_features", stopping)
    with pytest.raises(KeyboardInterrupt):
        measured(small_networks, FEATURES[:1], SETTINGS, memo, Workers(1))
    captures.clear()
    monkeypatch.setattr(measure, "block_features", plain)
    measured(small_networks, FEATURES[:1], SETTINGS, memo, Workers(1))
    assert [network for network, *_ in captures] == [small_networks[2]]


def test_progress_counts_captures(small_networks, memo):
    told = []
    for _ in range(2):
        measured(small_networks, FEATURES[:1], SETTINGS, memo, Workers(1), lambda *step: told.append(step), "exact")
    assert told == [("exact", done, 3) for done in range(4)]


def test_workers_keep_the_order_of_tasks(two_workers):
    tasks = list(range(50, 0, -1))
    assert list(two_workers.map(abs, [-t for t in tasks])) == tasks
    assert list(Workers(1).map(abs, [-t for t in tasks])) == tasks


def test_a_failing_task_reaches_the_caller_and_spares_the_pool(two_workers):
    with pytest.raises(ZeroDivisionError):
        list(two_workers.map(inverse_of, [1, 0, 2]))
    assert list(two_workers.map(abs, [-1, -2])) == [1, 2]


def inverse_of(number: int) -> float:
    return 1 / number


def test_no_worker_outlives_an_interruption():
    start = time.monotonic()
    processes = []

    def interrupted() -> None:
        with Workers(2) as workers:
            for _ in workers.map(time.sleep, [0, 300, 300, 300]):
                processes.extend(worker.process for worker in workers._busy.values())
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert len(processes) == 2
    try:
        while any(process.is_alive() for process in processes):
            assert time.monotonic() - start < 60
            time.sleep(0.05)
    finally:
        for process in processes:
            process.kill()


@pytest.mark.parametrize("count", [0, -3])
def test_fewer_than_one_worker_are_refused(count):
    with pytest.raises(InputError, match=f"the number of workers is {count}; expected 1 or more"):
        Workers(count)


def test_weights_alone_are_the_weights_of_the_whole_network(small_networks):
    """Only what is read gets values; it is what the network that runs has."""
    for init in ("shared", "fresh"):
        settings = CaptureSettings(batch_size=2, init=init)
        for network in small_networks:
            alone = capture(network, ["linear.weight"], settings)
            whole = capture(network, ["linear.weight", "block.output"], settings)
            for a, b in zip(alone, whole, strict=True):
                assert len(a) == 4
                assert all(torch.equal(a[name], b[name]) for name in a)
