# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""The report of runs, on disk and on standard output."""

from collections.abc import Sequence

from elmer_jax.core.errors import UserError
from elmer_jax.core.paths import local_path
from elmer_jax.reports import run_report, text_tables
from elmer_jax.reports.read_run import read_run


def report(runs: Sequence[str], output: str, split: str | None = None) -> None:
  """Writes the report of evaluated runs to a folder and prints its path."""
  run_report.write_report(runs, output, split)
  print(f"Report: {output}/index.html (its figures: summary.json)", flush=True)


def report_results(workdir: str, split: str | None = None) -> None:
  """Prints the table of an evaluated run, and writes its report.

  Args:
    workdir: folder of the run.
    split: that was evaluated; by default as in `read_run`.
  """
  print("\n".join(text_tables.results(read_run(workdir, split))))
  report([workdir], f"{workdir}/report", split)


def folders(
  workdir: str | None, runs: Sequence[str], output: str | None
) -> tuple[list[str], str]:
  """Returns the runs and the folder that the flags of the command name.

  Raises:
    UserError: a flag is missing.
  """
  if not workdir and not (runs and output):
    raise UserError("--workdir=DIR, or --runs=DIR[,DIR] and --output=DIR are needed")
  named = {"--workdir": [workdir] if workdir else [], "--runs": runs}
  found = [local_path(run, flag) for flag, given in named.items() for run in given]
  output = f"{found[0]}/report" if output is None else local_path(output, "--output")
  return found, output
