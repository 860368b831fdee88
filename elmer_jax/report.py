# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Writes the report of evaluated runs.

    python -m elmer_jax.report --workdir=RUN
    python -m elmer_jax.report --runs=W/pretrain,W/finetune --output=W/report

The first form writes to RUN/report. A report is index.html, which needs no other file
and no network, and summary.json.
"""

from absl import flags

from elmer_jax.commands import reporting, runner

_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of one run.")
_RUNS = flags.DEFINE_list("runs", [], "Folders of several runs, separated by commas.")
_OUTPUT = flags.DEFINE_string(
  "output", None, "Folder for index.html and summary.json; by default WORKDIR/report."
)


def main() -> None:
  reporting.report(*reporting.folders(_WORKDIR.value, _RUNS.value, _OUTPUT.value))


if __name__ == "__main__":
  runner.run_flags(main)
