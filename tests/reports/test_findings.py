# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Results that mean a failure, or nothing, get a sentence; tables have all scores."""

from pathlib import Path

from elmer_jax.reports import text_tables
from elmer_jax.reports.findings import problems
from elmer_jax.reports.read_run import Metrics, Run


def scores(rouge: float) -> dict[str, float]:
  names = ("rouge1", "rouge2", "rougeL")
  return dict.fromkeys(names, rouge) | {"distinct_outputs": 0.5}


def fine_tuning(own=30.0, shuffled=10.0, constant=20.0, **more) -> Run:
  systems = {"soft_exit": own, "soft_exit_shuffled_source": shuffled}
  systems |= {"baseline_constant": constant}
  results = {
    "split": "test",
    "examples": 600,
    "systems": {name: scores(value) for name, value in systems.items()},
  }
  return Run(Path("run"), "finetune", {}, Metrics(), {}, {}, Path("x"), results | more)


def pretraining(loss=5.0, unigram=6.0, shuffled=6.5) -> Run:
  results = {
    "examples": 128,
    "initial_validation_loss": 8.0,
    "final_validation_loss": loss,
    "unigram_loss": unigram,
    "shuffled_source_loss": shuffled,
  }
  return Run(Path("run"), "pretrain", {}, Metrics(), {}, {}, Path("x"), results)


def test_good_results_have_no_problem():
  assert problems(fine_tuning()) == problems(pretraining()) == []


def test_each_failure_is_a_sentence():
  cases = {
    "is not above these baselines": fine_tuning(constant=30.0),
    "does not use its source": fine_tuning(shuffled=29.7),
    "Only 1 example scored": fine_tuning(examples=1),
    "90% of the references have no Latin": fine_tuning(references_without_words=0.9),
    "is not below the unigram loss (4.90)": pretraining(unigram=4.9),
    "the loss is 5.02 instead of 5.00": pretraining(shuffled=5.02),
    "the loss is nan": pretraining(shuffled=float("nan")),
  }
  for words, run in cases.items():
    [sentence] = problems(run)
    assert words in sentence


def test_the_table_has_every_system_and_score():
  lines = text_tables.results(fine_tuning())
  assert lines[1].split()[-4:] == ["ROUGE-1", "ROUGE-2", "ROUGE-L", "distinct"]
  assert lines[2].split()[-4:] == ["30.0", "30.0", "30.0", "50%"]
  assert len({len(line) for line in lines[1:5]}) == 1
  losses = text_tables.results(pretraining())
  assert [line.split()[-1] for line in losses[2:6]] == ["5.00", "8.00", "6.00", "6.50"]
