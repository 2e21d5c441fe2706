"""`autoprox.discover`, and what the command of that name does once its options are known."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autoprox.api.captures import capture_settings, result_kept
from autoprox.api.groundtruth import ground_truth, listed
from autoprox.api.remembered import changed, recall, running
from autoprox.api.watching import Watching, never, pool_of, unseen, watching
from autoprox.measuring.workers import Progress, Workers

if TYPE_CHECKING:
    from autoprox.api.groundtruth import GroundTruth
    from autoprox.api.results import Discovered
    from autoprox.discovery import DiscoverySettings, Standing
    from autoprox.measuring.shards import Shard

__all__ = ["discover", "discovered", "sampled"]

_DECISIVE = ("preset", "structure", "vocabulary", "fitness", "evaluations", "seed", "null")


def discover(
    *,
    bench: str | PathLike[str] | Sequence[str | PathLike[str]] = (),
    spaces: str | Sequence[str] | None = None,
    datasets: str | Sequence[str] | None = None,
    labels: str | None = None,
    preset: str = "pareto",
    structure: str = "tree",
    vocabulary: str = "core",
    fitness: str = "mean",
    evaluations: int = 10_000,
    seed: int = 0,
    batch_size: int = 8,
    data_root: str | PathLike[str] | None = None,
    augment: bool = False,
    device: str = "cpu",
    workers: int | Workers | None = None,
    null: bool = False,
    out: str | PathLike[str] | None = None,
    run_dir: str | PathLike[str] | None = None,
    resume: bool = False,
    track: str | None = None,
    progress: Progress | None = None,
    observe: Callable[[Standing], None] = unseen,
    stop: Callable[[], bool] = never,
) -> Discovered:
    """Evolve a proxy on ground truth, and say how good it is on architectures that evolution never saw.

    The same as ``autoprox discover``, whose options these arguments are.

    Args:
        bench: names or paths of tables. Default: the one that comes along, or those with the data sets.
        spaces, datasets: names, as a sequence or joined by commas. Default: all that the tables have, or count.
        labels: kind of accuracy. Default: that of each table.
        preset, structure, vocabulary, fitness, evaluations, seed, null: see `autoprox.discovery.DiscoverySettings`.
        batch_size, data_root, augment, device: of the captures; see `autoprox.measuring.capture.CaptureSettings`.
        workers: processes. Default: one a core. In a script more than one needs ``if __name__ == "__main__":`` around the
            call. Results do not depend on it.
        out: proxy file to write. Default: best.json, or null.json with `null`.
        run_dir: folder of the run. Default: a new one in runs/.
        resume: go on with the run in `run_dir` (default: the newest); what is left at its default is as the run began.
        track: ``tensorboard:DIR``, ``mlflow:DIR`` or ``mlflow:URI`` to log the run's course.
        progress: told (stage, steps done, steps in all). Default: lines on standard error where work takes long;
            `autoprox.silent` shows nothing.
        observe: told where the discovery stands, after every generation.
        stop: asked at every safe point; true ends the run, resumable.

    Raises:
        InputError: what was given is wrong; says what, and what to do.
        MissingError: something outside is missing: ground truth, images, disk, an extra.
        InterruptedRunError: `stop` said so.
    """
    tables = [bench] if isinstance(bench, str | PathLike) else bench
    asked: dict[str, Any] = {
        "bench": [str(table) for table in tables],
        "spaces": _joined(spaces),
        "datasets": _joined(datasets),
        "labels": labels,
        "preset": preset,
        "structure": structure,
        "vocabulary": vocabulary,
        "fitness": fitness,
        "evaluations": evaluations,
        "seed": seed,
        "batch_size": batch_size,
        "data_root": None if data_root is None else str(data_root),
        "augment": augment,
        "device": device,
        "null": null,
        "track": track,
        "out": str(out or ("null.json" if null else "best.json")),
    }
    place = None if run_dir is None else Path(run_dir)
    given = changed(discover, {**asked, "bench": tuple(asked["bench"]), "out": out})
    asked = recall(given, "discover", place, resume, asked)
    with pool_of(workers) as pool:
        return discovered(asked, place, resume, pool, watching(progress, observe, stop))


def _joined(names: str | Sequence[str] | None) -> str | None:
    return names if names is None or isinstance(names, str) else ",".join(names)


def discovered(
    asked: Mapping[str, Any], run_dir: Path | None, resume: bool, workers: Workers, watched: Watching
) -> Discovered:
    """A discovery from its options to its proxy file; see `discover`."""
    from autoprox.api.results import Discovered
    from autoprox.api.tracking import tracker
    from autoprox.discovery import discover as run
    from autoprox.files import check_writable
    from autoprox.measuring.store import home_folder

    target = Path(asked["out"])
    check_writable(target)
    settings, truth = _problem(asked, workers)
    with (
        tracker(asked["track"]) as log,
        running("discover", run_dir, resume, dict(asked)) as folder,
        watched(folder) as watch,
    ):

        def observe(standing: Standing) -> None:
            watch.observe(standing)
            log.discovery(standing)

        found = run(
            truth.groups,
            settings,
            run_dir=folder,
            home=home_folder(),
            workers=workers,
            benchmarks=truth.record(),
            tables=truth.benchmarks,
            resume=resume,
            observe=observe,
            progress=watch.progress,
            stop=watch.stop,
        )
        log.discovered(found)
    with result_kept(folder / "best.json"):
        found.proxy.save(target)
    return Discovered(found.proxy, found.summary, target, folder)


def sampled(asked: Mapping[str, Any], shard: Shard, workers: Workers, progress: Progress) -> tuple[int, int]:
    """Take one part of the samples that a discovery needs; how many architectures, and of how many."""
    from autoprox.discovery import sample_part
    from autoprox.measuring.store import home_folder

    settings, truth = _problem(asked, workers)
    return sample_part(truth.groups, settings, shard, home=home_folder(), workers=workers, progress=progress)


def _problem(asked: Mapping[str, Any], workers: Workers) -> tuple[DiscoverySettings, GroundTruth]:
    """The settings and the ground truth that the options describe."""
    from autoprox.discovery import DiscoverySettings

    names = listed(asked["spaces"]), listed(asked["datasets"])
    settings = DiscoverySettings(
        **{name: asked[name] for name in _DECISIVE},
        # initial weights and batch have a seed of their own, so that another seed of evolution finds the memo warm
        capture=capture_settings(
            asked["batch_size"], 0, asked["data_root"], asked["device"], augment=asked["augment"], workers=workers
        ),
    )
    settings.check()
    return settings, ground_truth(asked["bench"], *names, asked["labels"], settings.capture)
