"""What is shown on a terminal: tables, progress, and the live view of a discovery."""

from __future__ import annotations

from autoprox.report.architectures import search_tables
from autoprox.report.live import DiscoveryView, discovery_view
from autoprox.report.progress import View, work_view
from autoprox.report.ranks import discovery_tables, left_out_lines, rank_tables
from autoprox.report.scores import score_records, score_table
from autoprox.report.screen import show, standard_error
from autoprox.report.studies import study_csv, study_tables
from autoprox.report.tables import listing

__all__ = [
    "DiscoveryView",
    "View",
    "discovery_tables",
    "discovery_view",
    "left_out_lines",
    "listing",
    "rank_tables",
    "score_records",
    "score_table",
    "search_tables",
    "show",
    "standard_error",
    "study_csv",
    "study_tables",
    "work_view",
]
