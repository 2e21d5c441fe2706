"""`make kill`: kill -9 at random moments of discover, search and bench build, and of their workers.

Each kill has a run of its own, in an empty home. A killed program is resumed, and must end with the result of a run that was
never killed; what it had recorded must still be there, and no process may be left. Where a worker is killed, the program must
go on by itself to that result. One line is printed for each kill; exit code 1 if any went wrong.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from typing import Any

ROOT = Path(__file__).parent.parent
_PATIENCE = 300.0  # seconds for a run to end
_LINGER = 10.0  # seconds for processes to end after their parent
_TIMES = {"seconds", "wall_seconds"}


@dataclass(frozen=True)
class Subject:
    """A command with what it makes.

    Attributes:
        results: in the run's folder (`run`) or beside it, each compared without times.
    """

    name: str
    arguments: tuple[str, ...]
    results: tuple[str, ...]


_WORKERS = ("--workers", "2")
SUBJECTS = (
    Subject(
        "discover",
        ("discover", "--bench", "nano", "--spaces", "pit-nano", "--evaluations", "250", "--batch-size", "2", *_WORKERS),
        ("best.json", "run/best.json", "run/finalists.json", "run/journal.jsonl"),
    ),
    Subject(
        "search",
        (
            "search", "--proxy", "sum(l2(linear.weight)) * mean(std(fc2.output))", "--space", "autoformer-nano",
            "--evaluations", "120", "--batch-size", "2", *_WORKERS,
        ),
        ("arch.json", "run/arch.json", "run/scores.jsonl", "run/journal.jsonl"),
    ),
    Subject(
        "build",
        (
            "bench", "build", "--space", "pit-nano", "--dataset", "digits", "--architectures", "5", "--seeds", "2",
            "--epochs", "1", *_WORKERS,
        ),
        ("table/benchmark.json", "table/pit-nano.csv"),  # not the journal: trainings end in any order
    ),
)  # fmt: skip


class FailedError(Exception):
    """What a kill has broken."""


class Run:
    """One command in a folder and a home of its own."""

    def __init__(self, subject: Subject, folder: Path) -> None:
        self.subject, self.folder = subject, folder
        folder.mkdir()

    @property
    def begun(self) -> bool:
        return (self.folder / "run" / "settings.json").exists()

    def start(self) -> subprocess.Popen[str]:
        """Begin it, or go on with it."""
        out = {"discover": "best.json", "search": "arch.json", "build": "table"}[self.subject.name]
        again = ("--resume",) if self.begun else ()
        command = (*self.subject.arguments, "--run-dir", "run", "--out", out, "--json", *again)
        return subprocess.Popen(
            [sys.executable, "-m", "autoprox", *command],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, cwd=self.folder, start_new_session=True,
            env={**os.environ, "AUTOPROX_HOME": str(self.folder / "home"), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        )  # fmt: skip

    def finish(self, process: subprocess.Popen[str]) -> str:
        """Wait for its end, and return what it said on standard error."""
        try:
            _, errors = process.communicate(timeout=_PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            raise FailedError(f"did not end within {_PATIENCE:.0f} s") from None
        if process.returncode:
            raise FailedError(f"exit code {process.returncode}: {errors.strip()[-500:]}")
        return errors

    def recorded(self) -> list[bytes]:
        """The lines of the journal that count."""
        try:
            count = json.loads((self.folder / "run" / "state.json").read_bytes())["lines"]
        except FileNotFoundError:
            return []
        return (self.folder / "run" / "journal.jsonl").read_bytes().splitlines()[:count]

    def result(self) -> dict[str, Any]:
        """All results, without what differs from run to run."""
        return {name: _content(self.folder / name) for name in self.subject.results}


def _content(path: Path) -> Any:
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".json":
        return _timeless(json.loads(text))
    if path.suffix == ".jsonl":
        return [_timeless(json.loads(line)) for line in text.splitlines()]
    return text


def _timeless(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _timeless(item) for name, item in value.items() if name not in _TIMES}
    return [_timeless(item) for item in value] if isinstance(value, list) else value


def _left(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def _workers(process: int) -> list[int]:
    """The worker processes of a program; none where the system does not tell."""
    try:
        children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
        return [int(child) for child in children if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()]
    except OSError:
        return []


def kill_program(run: Run, moment: float, whole: dict[str, Any]) -> str:
    """Kill it, resume it, and say how that went."""
    process = run.start()
    time.sleep(moment)
    early = process.poll() is None
    process.kill()
    _, errors = process.communicate()
    if not early and process.returncode:
        raise FailedError(f"exit code {process.returncode}: {errors.strip()[-500:]}")
    _wait_until(lambda: not _left(process.pid), "processes are left after their parent")
    begun, lines = run.begun, run.recorded()
    run.finish(run.start())
    if run.recorded()[: len(lines)] != lines:
        raise FailedError(f"of {len(lines)} recorded lines some are not there any more")
    _compare(run, whole)
    if not early:
        return "had ended already; same result"
    return f"{len(lines)} lines were recorded; resumed to the same result" if begun else "had not begun; same result"


def kill_worker(run: Run, moment: float, whole: dict[str, Any], chance: random.Random) -> str:
    """Kill one of its workers; it has to end well by itself."""
    process = run.start()
    time.sleep(moment)
    victims = _workers(process.pid)
    if victims:
        os.kill(chance.choice(victims), signal.SIGKILL)
    errors = run.finish(process)
    _compare(run, whole)
    noticed = "noticed" if "a worker process was killed by SIGKILL" in errors else "it had nothing to do"
    return f"worker of {len(victims)}, {noticed}; same result" if victims else "there was no worker; same result"


def _wait_until(holds: Callable[[], bool], otherwise: str) -> None:
    deadline = time.monotonic() + _LINGER
    while not holds():
        if time.monotonic() > deadline:
            raise FailedError(otherwise)
        time.sleep(0.02)


def _compare(run: Run, whole: dict[str, Any]) -> None:
    found = run.result()
    if different := [name for name in whole if found[name] != whole[name]]:
        raise FailedError(f"{', '.join(different)} differ from those of a run that was not killed, see {run.folder}")
    left = [path.name for path in (run.folder / "run").glob(".*.????????")]
    if left:
        raise FailedError(f"{', '.join(left)} are left in the folder of the run")


def killed(subject: Subject, folder: Path, kills: int, seed: int) -> Iterator[tuple[str, bool]]:
    """A line for each kill, and whether it went well; every third kill is one of a worker."""
    chance = random.Random(f"{seed} {subject.name}")
    whole = Run(subject, folder / "whole")
    began = time.monotonic()
    process = whole.start()
    while not whole.begun and process.poll() is None:
        time.sleep(0.02)
    start = time.monotonic() - began
    whole.finish(process)
    end = time.monotonic() - began
    expected = whole.result()
    yield f"{subject.name}: {end:.1f} s, the first {start:.1f} s until its folder is there", True
    for number in range(kills):
        moment = chance.uniform(0.8 * start, end)
        run = Run(subject, folder / f"kill-{number}")
        try:
            of_worker = number % 3 == 2
            verdict = kill_worker(run, moment, expected, chance) if of_worker else kill_program(run, moment, expected)
            yield f"{subject.name} {number + 1} of {kills}, after {moment:.2f} s: {verdict}", True
        except FailedError as error:
            yield f"{subject.name} {number + 1} of {kills}, after {moment:.2f} s: FAILED: {error}", False


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    names = [subject.name for subject in SUBJECTS]
    parser.add_argument("--kills", type=int, default=20, help="of each command")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--only", choices=names, nargs="+", default=names)
    asked = parser.parse_args()
    well = True
    folder = Path(mkdtemp(prefix="autoprox-kill-"))
    for subject in SUBJECTS:
        if subject.name in asked.only:
            place = folder / subject.name
            place.mkdir()
            for line, right in killed(subject, place, asked.kills, asked.seed):
                print(line, flush=True)  # noqa: T201 - a script
                well = well and right
    if well:  # otherwise it is worth a look
        rmtree(folder)
    sys.exit(0 if well else 1)


if __name__ == "__main__":
    main()
