"""The command line. One file a group of commands, each thin: options in, a library call, a table or JSON out.

Importing this package, and ``--help``, load neither torch nor numpy: commands import what they need when they run.
"""

from __future__ import annotations

from autoprox.cli.application import main, run

__all__ = ["main", "run"]
