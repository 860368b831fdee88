# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Display names of scores and of the systems that an evaluation compares."""

from collections.abc import Container

# By the keys of the metric functions. The first that a task has is its main score.
SCORE_NAMES = {
  "rougeL": "ROUGE-L",
  "bleu2": "BLEU-2",
  "rouge1": "ROUGE-1",
  "rouge2": "ROUGE-2",
  "rougeLsum": "ROUGE-L of lines",
  "bleu1": "BLEU-1",
  "bleu3": "BLEU-3",
  "bleu4": "BLEU-4",
  "meteor": "METEOR",
  "chrf": "chrF",
  "distinct1": "Distinct-1",
  "distinct2": "Distinct-2",
}
_KEPT = "the same, adjacent repeats kept"
_SHUFFLED = "the same, each source replaced by another example's"
_ORACLE = "the same, given the references' lengths (no fair score)"
SYSTEM_NAMES = {
  "soft_exit": "ELMER, soft exit",
  "soft_exit_repeats_kept": _KEPT,
  "soft_exit_shuffled_source": _SHUFFLED,
  "soft_exit_oracle_length": _ORACLE,
  "hard_exit": "ELMER, hard exit",
  "hard_exit_repeats_kept": _KEPT,
  "hard_exit_shuffled_source": _SHUFFLED,
  "hard_exit_oracle_length": _ORACLE,
  "hard_exit_without_exits": "the same, every token through all layers",
  "none": "Plain NAR, last layer",
  "none_repeats_kept": _KEPT,
  "none_shuffled_source": _SHUFFLED,
  "none_oracle_length": _ORACLE,
  "dag": "DAG, Viterbi",
  "dag_shuffled_source": _SHUFFLED,
  "dag_lookahead": "DAG, lookahead",
  "dag_lookahead_shuffled_source": _SHUFFLED,
  "dag_greedy": "DAG, greedy",
  "dag_greedy_shuffled_source": _SHUFFLED,
  "mask_predict": "Mask-predict",
  "mask_predict_repeats_kept": _KEPT,
  "mask_predict_shuffled_source": _SHUFFLED,
  "autoregressive": "Autoregressive",
  "autoregressive_shuffled_source": _SHUFFLED,
  "baseline_constant": "Best training output, the same for all",
  "baseline_template": "Best fixed template",
  "baseline_lead": "First sentence of the source",
  "baseline_name": "Name, spelled out",
}


def main_score(scores: Container[str]) -> str:
  """Returns the key of the main score among those of a system."""
  return next(key for key in SCORE_NAMES if key in scores)
