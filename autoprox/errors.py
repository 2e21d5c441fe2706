"""What can go wrong for a user, one class an exit code (see README, exit codes)."""

from __future__ import annotations

__all__ = ["AutoproxError", "InputError", "InterruptedRunError", "MissingError", "check_least"]


class AutoproxError(Exception):
    """An error that a user can act on: its text is one sentence, its exit code part of the command line's contract."""

    exit_code = 1


class InputError(AutoproxError):
    """What the user gave is wrong (exit code 2): the text says what, what was expected, what was found, what to do."""

    exit_code = 2


class MissingError(AutoproxError):
    """Something outside is missing or broken (exit code 3): no ground truth, no network, no disk."""

    exit_code = 3


class InterruptedRunError(AutoproxError):
    """The user stopped a run at a safe point (exit code 130): the text says how to resume."""

    exit_code = 130


def check_least(what: str, number: int, least: int) -> None:
    """Raise InputError where a number that a user has given is too small."""
    if number < least:
        raise InputError(f"the {what} is {number}; expected {least} or more")
