# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Scores and baselines on texts that can be scored by hand."""

import pytest

from elmer_jax.data import metrics
from elmer_jax.evaluation import baselines


def test_rouge_by_hand():
  """Four of six words, one of five pairs of words, four words in order."""
  found = metrics.rouge(["The cat sat on the mat."], ["the cat is on a mat"])
  assert found == pytest.approx({"rouge1": 400 / 6, "rouge2": 20, "rougeL": 400 / 6})


def test_rouge_is_the_mean_of_f_measures():
  found = metrics.rouge(["a b c d", "x y"], ["a b", "z"])
  assert found == pytest.approx({"rouge1": 100 / 3, "rouge2": 25, "rougeL": 100 / 3})


def test_rouge_compares_stems_and_no_case_or_marks():
  found = metrics.rouge(["Returns the numbers!"], ["return (the) number"])
  assert found == pytest.approx(dict.fromkeys(metrics.ROUGE, 100))
  assert metrics.rouge(["Something."], [""])["rouge1"] == 0


def test_distinct_outputs_are_a_share():
  assert metrics.distinct(["r"] * 4, ["a", "b", "a", "a"]) == {"distinct_outputs": 0.5}


def test_post_processing_leaves_one_line():
  assert metrics.one_line(" a\n b\t\tc\u2028d ", is_target=True) == "a b c d"


@pytest.mark.parametrize(
  ("source", "name", "lead"),
  [
    ("def to_json(a, b)\nGive it. Then go.", "to json", "Give it."),
    ("async def __aenter__()\nWait\nhere.\n\nMore.", "aenter", "Wait here."),
    ("class HTTPServer2(object)\nAs (e.g. this) is. So", "http server 2", None),
    ("module xml.jsonDecoder\nA sentence without end", "json decoder", None),
    ("module os\n", "os", "module os"),
    ("Some text. And more.\nThird.", None, "Some text."),
  ],
)
def test_name_and_lead_of_a_source(source, name, lead):
  assert baselines.name_of(source) == name
  lead = lead or source.partition("\n")[2].partition(" So")[0]
  assert baselines.lead(source) == lead


def test_baselines_are_chosen_by_their_scores():
  held_out = [(f"def {n}(x)\nFirst {n}. Second.", f"Get the {n}.") for n in "pqrstu"]
  train = ["Get the thing.", *[f"word{n}" for n in range(500)], "Get the thing."]
  writers = baselines.fit(train, held_out)
  source = "class FooBar\nLead of it. Other."
  assert {name: writer(source) for name, writer in writers.items()} == {
    "baseline_constant": "Get the thing.",
    "baseline_template": "Get the foo bar.",
    "baseline_lead": "Lead of it.",
    "baseline_name": "foo bar",
  }


def test_texts_without_signatures_have_no_baselines_of_names():
  writers = baselines.fit(["{} {x}"], [("Where is it?", "Here."), ("def f()\na", "b")])
  assert list(writers) == ["baseline_constant", "baseline_lead"]
  assert writers["baseline_constant"]("any") == "{} {x}"
