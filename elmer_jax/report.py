# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Draws the report of finished runs.

    python -m elmer_jax.report --runs=W/pretrain,W/finetune --output=W/report

Writes index.html, which needs no other file and no network, and summary.json.
"""

from absl import flags

from elmer_jax.commands import runner
from elmer_jax.core.errors import UserError
from elmer_jax.reports import run_report

RUNS = flags.DEFINE_list("runs", [], "Folders of evaluated runs, by commas.")
OUTPUT = flags.DEFINE_string("output", "", "Folder for index.html and summary.json.")


def main() -> None:
  if not RUNS.value or not OUTPUT.value:
    raise UserError("--runs=DIR[,DIR] and --output=DIR are both needed")
  summary = run_report.write_report(RUNS.value, OUTPUT.value)
  print("\n".join(run_report.in_words(summary)))
  print(f"Report: {OUTPUT.value}/index.html (its figures: summary.json)")


if __name__ == "__main__":
  runner.run_flags(main)
