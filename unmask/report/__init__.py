"""Run folders become one page that opens anywhere, and a table for the terminal.

The page is a pure function of run folders: every number on it was read from `run.json`, `metrics.jsonl` or
`evaluation/*.json` of a run, so a number without a run cannot enter. `read` turns folders into plain values,
`verdict` says in words what they show, `figures` draws them, `page` puts them on paper. No torch, no network.
"""

from unmask.report.page import report
from unmask.report.table import results_table

__all__ = ["report", "results_table"]
