"""The pages as programs: `make docs` runs what README and docs show and writes what it prints; `tests/test_pages.py` compares.

Fenced blocks of three languages count. All pages run in one folder, one after the other, with one home; a command that an
earlier block has run is not run again.

- ``sh``: commands. ``console``: commands after ``$``, below each what it prints on standard output; where that is long, its
  first lines and ``...``. ``python``: one namespace a page.

HTML comments before a block, which no reader sees:

- ``not run: REASON``: its commands are only read, against the application and the Makefile.
- ``long``: `make docs` runs it and writes what it prints; tests only read it.
- ``discovered: ARITHMETIC``: what it prints hangs on what evolution found, which one different rounding may change. It is
  compared where arithmetic is that of the machine that wrote the page.
- ``first: CODE``: Python that readers have anyway, such as a model of their own.
"""

from __future__ import annotations

import hashlib
import io
import math
import os
import re
import shlex
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import chdir, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
import typer

from autoprox.cli import run
from autoprox.cli.application import app, spread
from autoprox.files import write_text

ROOT = Path(__file__).parent.parent
BLOCK = re.compile(
    r"^(?P<notes>(?:<!--(?:(?!-->).)*-->\n+)*)```(?P<language>\w*)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL
)
NOTE = re.compile(r"<!--\s*(?P<name>not run|long|discovered|first)(?::\s*(?P<text>.*?))?\s*-->", re.DOTALL)
NUMBER = re.compile(r"(?<![\w.])[-+−]?(?:\d[\d,]*(?:\.\d+)?|\.\d+)(?:e[-+]?\d+)?")
CLOCK = re.compile(r"\b\d+:\d\d(?::\d\d)?\b")
COLUMNS = "100"
CUT = "..."


def page_files() -> list[Path]:
    """README and tutorial, which others build on, then the rest by name."""
    first = [ROOT / "README.md", ROOT / "docs" / "tutorial.md"]
    return [*first, *(path for path in sorted((ROOT / "docs").glob("**/*.md")) if path not in first)]


def arithmetic() -> str:
    """A name for how this machine rounds: equal where a product, singular values and exponentials are equal in all bits."""
    values = torch.randn(64, 96, generator=torch.Generator().manual_seed(0))
    parts = (values @ values.mT, torch.linalg.svdvals(values), values.exp(), values.softmax(-1), values.sum(-1))
    return hashlib.sha256(b"".join(part.numpy().tobytes() for part in parts)).hexdigest()[:8]


def parsed(arguments: list[str]) -> dict[str, Any]:
    """The values of the options of an autoprox command, which is not run. Raises what a wrong option raises."""
    command: Any = typer.main.get_command(app)
    context = command.make_context("autoprox", spread(arguments))
    while hasattr(command, "commands"):
        name, command, rest = command.resolve_command(context, [*context._protected_args, *context.args])
        context = command.make_context(name, rest, parent=context)
    return dict(context.params)


def commands(body: str) -> Iterator[tuple[str, list[str]]]:
    """The commands of a block, and what is shown below each; a backslash at the end goes on in the next line."""
    prompted = any(line.startswith("$ ") for line in body.splitlines())
    command, shown = "", []
    for line in body.splitlines():
        if command.endswith("\\"):
            command += "\n" + line
        elif prompted and not line.startswith("$ "):
            shown.append(line)
        else:
            if command:
                yield command, shown
            command, shown = line.removeprefix("$ "), []
    if command:
        yield command, shown


def words(command: str) -> list[str]:
    return shlex.split(command.replace("\\\n", " "), comments=True)


def read_only(command: str) -> str:
    """What is wrong with a command that is not run; nothing if all is well."""
    given = words(command)
    if "autoprox" in {Path(word).name for word in given[:1]}:
        try:
            parsed(given[1:])
        except typer.Exit:
            return ""
        except Exception as error:
            return str(getattr(error, "message", error))
    if given[:1] == ["make"]:
        known = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
        return "".join(f"no rule {rule}" for rule in given[1:] if "=" not in rule and rule not in known)
    return ""


def differs(shown: list[str], printed: list[str]) -> str:
    """Where two outputs differ in more than times, widths and roundings (2 %, or .02); nothing if they do not."""
    if shown[-1:] == [CUT]:
        shown, printed = shown[:-1], printed[: len(shown) - 1]
    if len(shown) != len(printed):
        return f"{len(shown)} lines are shown, {len(printed)} printed"
    for mine, other in zip(shown, printed, strict=True):
        a, b = (" ".join(re.sub("─+", "─", CLOCK.sub("TIME", line)).split()) for line in (mine, other))
        pairs = zip(NUMBER.findall(a), NUMBER.findall(b), strict=False)
        if NUMBER.sub("#", a) != NUMBER.sub("#", b) or not all(near(x, y) for x, y in pairs):
            return f"shown:   {mine}\nprinted: {other}"
    return ""


def near(a: str, b: str) -> bool:
    x, y = (float(text.replace(",", "").replace("−", "-")) for text in (a, b))
    return math.isclose(x, y, rel_tol=0.02, abs_tol=0.02)


@dataclass
class Session:
    """A folder in which pages are run, long blocks too or not; what was printed, command by command; what went wrong."""

    folder: Path
    long: bool = True
    printed: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def run_page(self, path: Path) -> str:
        """The text of a page with its outputs as they are here."""
        text = path.read_text(encoding="utf-8")
        namespace: dict[str, Any] = {"__name__": path.stem}

        def block(match: re.Match[str]) -> str:
            where = f"{path.relative_to(ROOT)}:{text.count(chr(10), 0, match.start('body')) + 1}"
            return self._block(match, where, namespace)

        return BLOCK.sub(block, text)

    def _block(self, match: re.Match[str], where: str, namespace: dict[str, Any]) -> str:
        language, body = match["language"], match["body"]
        notes = {note["name"]: note["text"] or "" for note in NOTE.finditer(match["notes"])}
        idle = "not run" in notes or ("long" in notes and not self.long)
        if language == "python":
            if not idle:
                self._python(notes.get("first", ""), body, where, namespace)
        elif language in ("sh", "console"):
            if idle:
                wrong = {command: read_only(command) for command, _ in commands(body)}
                self.problems += [f"{where}: {command}: {problem}" for command, problem in wrong.items() if problem]
            else:
                here = arithmetic()
                compared = notes.get("discovered", here) == here
                written = "".join(self._shown(c, shown, where, compared) for c, shown in commands(body))
                renewed = match[0].replace(body, written, 1) if language == "console" else match[0]
                return re.sub(r"(<!-- discovered)(: \w+)? -->", rf"\1: {here} -->", renewed)
        return match[0]

    def _shown(self, command: str, shown: list[str], where: str, compared: bool) -> str:
        printed = self._command(command, where).rstrip().splitlines()
        printed = [line.rstrip() for line in printed]
        if compared and shown and (difference := differs(shown, printed)):
            self.problems.append(f"{where}: {command}\n{difference}")
        if shown[-1:] == [CUT]:
            printed = [*printed[: len(shown) - 1], CUT]
        return "\n".join([f"$ {command}", *printed]) + "\n"

    def _command(self, command: str, where: str) -> str:
        if command not in self.printed:
            given = words(command)
            plain = given[:1] == ["autoprox"] and not {"|", ">", "&&"} & set(given)
            code, out, err = self._here(given[1:]) if plain else self._shell(command)
            if code:
                self.problems.append(f"{where}: {command}: exit code {code}: {err.strip()}")
            self.printed[command] = out
        return self.printed[command]

    def _here(self, arguments: list[str]) -> tuple[int, str, str]:
        """An autoprox command in this process, which has torch already, as `autoprox` would run with one worker."""
        if "workers" in parsed(arguments) and "--workers" not in arguments:
            arguments = [*arguments, "--workers", "1"]  # results do not depend on it
        out, err = io.StringIO(), io.StringIO()
        with self._place(), redirect_stdout(out), redirect_stderr(err):
            return run(arguments), out.getvalue(), err.getvalue()

    def _shell(self, command: str) -> tuple[int, str, str]:
        with self._place():
            path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
            done = subprocess.run(
                ["bash", "-ec", command], capture_output=True, text=True, check=False, env={**os.environ, "PATH": path}
            )
        return done.returncode, done.stdout, done.stderr

    def _python(self, first: str, body: str, where: str, namespace: dict[str, Any]) -> None:
        with self._place(), redirect_stdout(io.StringIO()):
            try:
                exec(compile(first, where, "exec"), namespace)
                exec(compile(body, where, "exec"), namespace)
            except Exception:
                self.problems.append(f"{where}: {traceback.format_exc(limit=-2)}")

    def _place(self) -> Any:
        """The scratch folder, and the environment of a reader who has just begun."""
        return Place(self.folder)


class Place(chdir):
    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        home = {"AUTOPROX_HOME": str(folder / "home"), "COLUMNS": COLUMNS, "AUTOPROX_BENCHMARKS": ""}
        self._environment = patch.dict(os.environ, home)

    def __enter__(self) -> None:
        self._environment.start()
        super().__enter__()

    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)
        self._environment.stop()


def main() -> None:
    """Run the pages that are named, or all, and write what they print into them."""
    paths = [Path(name).absolute() for name in sys.argv[1:]] or page_files()
    with tempfile.TemporaryDirectory() as folder:
        session = Session(Path(folder))
        for path in paths:
            sys.stderr.write(f"{path.relative_to(ROOT)}\n")
            write_text(path, session.run_page(path))
    failed = [problem for problem in session.problems if "exit code" in problem or "Traceback" in problem]
    if failed:
        sys.exit("\n".join(failed))


if __name__ == "__main__":
    main()
