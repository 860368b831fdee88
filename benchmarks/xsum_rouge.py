# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Compares our ROUGE of published outputs with their authors' figures.

    python benchmarks/xsum_rouge.py --outputs=DIR

DIR holds the XSum test outputs that EdinburghNLP/XSum offers: SYSTEM-test-output.txt
(a summary a line), SYSTEM-test-output.rouge (the first line: "f-score >>
ROUGE(1/2/3/L/SU4): 31.27/11.07/5.19/25.23/10.79") and gold-test-sentences.txt, as they
are or compressed (.gz, .zst). The last line is JSON: for each system both figures, and
the largest difference. On a busy CPU core it took 25 seconds; the largest difference
of the five systems was 0.01.
"""

import json
import time
from pathlib import Path

from absl import app, flags

from elmer_jax.core.errors import UserError
from elmer_jax.data.readers import documents_and_pairs, text_files
from elmer_jax.metrics import text_metrics

_OUTPUTS = flags.DEFINE_string("outputs", None, "Folder of the outputs.", required=True)
_FIELDS = {"rouge1": 0, "rouge2": 1, "rougeL": 3}  # of the published figures


def main(argv: list[str]) -> None:
  del argv
  folder = Path(_OUTPUTS.value)
  gold = _lines(folder, "gold-test-sentences.txt")
  start = time.monotonic()
  systems = {}
  names = [path.name.removesuffix(".rouge") for path in sorted(folder.glob("*.rouge"))]
  if not names:
    raise SystemExit(f"error: {folder} holds no SYSTEM-test-output.rouge")
  print(f"{'':14}{'published':>22}{'ours':>22}{'difference':>22}")
  for name in names:
    ours = text_metrics.rouge(gold, _lines(folder, f"{name}.txt"))
    published = _published(folder / f"{name}.rouge")
    systems[name.removesuffix("-test-output")] = {"published": published, "ours": ours}
    differences = {key: ours[key] - published[key] for key in _FIELDS}
    rows = [_figures(row) for row in (published, ours, differences)]
    print(f"{name.removesuffix('-test-output'):14}{''.join(rows)}", flush=True)
  largest = max(
    abs(system["ours"][key] - system["published"][key])
    for system in systems.values()
    for key in _FIELDS
  )
  seconds = time.monotonic() - start
  found = {"examples": len(gold), "largest_difference": round(largest, 3)}
  print(json.dumps(found | {"seconds": round(seconds, 1), "systems": systems}))


def _figures(scores: dict[str, float]) -> str:
  return f"{' / '.join(f'{scores[key]:.2f}' for key in _FIELDS):>22}"


def _published(path: Path) -> dict[str, float]:
  values = path.read_text().splitlines()[0].rpartition(":")[2].split("/")
  return {key: float(values[field]) for key, field in _FIELDS.items()}


def _lines(folder: Path, name: str) -> list[str]:
  try:
    return list(
      documents_and_pairs.read_documents(text_files.expand_files(f"{folder}/{name}*"))
    )
  except UserError as error:
    raise SystemExit(f"error: {error}") from None


if __name__ == "__main__":
  app.run(main)
