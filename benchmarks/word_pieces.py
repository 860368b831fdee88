# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Counts words that no one wrote in the outputs of a DAG run.

    python benchmarks/word_pieces.py --workdir=W/finetune

A search that joins the pieces of different words writes "Returnss" or "thehistogram".
Printed for each search: ROUGE, BLEU-4, words an output, the share of words that occur
neither in the training split nor in the text's own source, and the share of tokens that
equal their left neighbour. The same for the references. The run must be evaluated.
"""

import json
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from absl import app, flags

import elmer_jax
from elmer_jax import DagGreedy, DagLookahead, DagViterbi
from elmer_jax.commands.run_folder import read_config
from elmer_jax.data import prepared_data
from elmer_jax.metrics import text_metrics

_WORKDIR = flags.DEFINE_string("workdir", None, "Of an evaluated run.", required=True)
_WORD = re.compile(r"\w+")


def main(argv: Sequence[str]) -> None:
  del argv
  workdir = _WORKDIR.value
  model = elmer_jax.load(workdir)
  known = _training_words(workdir, model.vocabulary)
  lines = (Path(workdir) / "evaluation" / "predictions.jsonl").read_text().splitlines()
  rows = [json.loads(line) for line in lines]
  sources = [row["source"] for row in rows]
  references = [text_metrics.one_line(row["reference"]) for row in rows]
  depth = model.config.decoder_layers
  searches = {
    "Viterbi, as fitted": DagViterbi(),
    **{
      f"the same, {layers} of {depth} decoder layers": DagViterbi(layers=layers)
      for layers in range(1, depth)
    },
    "Viterbi, α 1, without pairs": DagViterbi(1.0, 0.0),
    "lookahead": DagLookahead(),
    "greedy": DagGreedy(),
  }
  print("| search | ROUGE-1/2/L | BLEU-4 | words | unknown words | equal neighbours |")
  print("|---|---|---|---|---|---|")
  for name, search in searches.items():
    found = elmer_jax.generate(model, sources, search, details=False)
    texts = [text_metrics.one_line(result.text) for result in found]
    ids = [result.token_ids for result in found]
    print(_row(name, references, texts, sources, known, ids))
  ids = model.vocabulary.encode_batch(references)
  print(_row("references", references, references, sources, known, ids))


def _training_words(workdir: str, vocabulary) -> set[str]:
  words = set()
  caches = prepared_data.open_caches(read_config(workdir), workdir, vocabulary, "train")
  for cache, _ in caches:
    for index in range(len(cache)):
      for ids in cache[index].values():
        words.update(_WORD.findall(vocabulary.decode(ids)))
  return words


def _row(name, references, texts, sources, known, ids) -> str:
  rouge = text_metrics.rouge(references, texts)
  bleu = text_metrics.bleu(references, texts)["bleu4"]
  words = unknown = 0
  for text, source in zip(texts, sources, strict=True):
    found = _WORD.findall(text)
    words += len(found)
    unknown += len([word for word in found if word not in known and word not in source])
  equal = sum(int((np.diff(row) == 0).sum()) for row in ids)
  scores = "/".join(f"{rouge[metric]:.1f}" for metric in text_metrics.ROUGE)
  length = np.mean([len(text.split()) for text in texts])
  return (
    f"| {name} | {scores} | {bleu:.2f} | {length:.1f} | {unknown / words:.1%} | "
    f"{equal / sum(map(len, ids)):.2%} |"
  )


if __name__ == "__main__":
  app.run(main)
