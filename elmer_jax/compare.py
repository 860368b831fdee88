# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Trains several kinds of models on one budget and compares them.

    python -m elmer_jax.compare --config=compare_pydocs --workdir=DIR

  comparison = Comparison(config, Path(os.path.abspath(workdir)))
  claim_run_folder(config, workdir, COMPARISON)
  stages.run(comparison.stages())
  print(comparison.paths.table.with_suffix(".md").read_text(encoding="utf-8"), end="")
  logging.info("page: %s; all figures: table.json beside it", comparison.paths.page)
chooses some. They share the vocabulary and the prepared data (DIR/prepared) and see the
same batches for the same number of steps; each is an ordinary run, DIR/runs/NAME-seedN.
The same command continues an interrupted comparison and repeats nothing that is done.

Writes DIR/compare/table.md, table.json (its content: `comparison.results`) and
index.html; table.md goes to standard output too.
"""

import ml_collections

from elmer_jax.commands import runner
from elmer_jax.configuration import COMPARISON


def main(config: ml_collections.ConfigDict, workdir: str) -> None:
  from elmer_jax.comparison.comparison import compare

  compare(config, workdir)


if __name__ == "__main__":
  runner.run(main, COMPARISON)
