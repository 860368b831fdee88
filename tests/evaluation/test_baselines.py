# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Baselines: what they write, and how they are chosen."""

import pytest

from elmer_jax.data.datasets.dataset import SEPARATOR
from elmer_jax.evaluation import baselines


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
def test_name_and_first_sentence_of_a_source(source, name, lead):
  assert baselines.name_of(source) == name
  lead = lead or source.partition("\n")[2].partition(" So")[0]
  assert baselines.lead(source) == lead


def test_constant_and_template_have_the_highest_scores():
  held_out = [(f"def {n}(x)\nFirst {n}. Second.", f"Get the {n}.") for n in "pqrstu"]
  train = ["Get the thing.", *[f"word{n}" for n in range(500)], "Get the thing."]
  fitted = baselines.fit(train, held_out)
  source = "class FooBar\nLead of it. Other."
  assert {name: baseline(source) for name, baseline in fitted.items()} == {
    "baseline_constant": "Get the thing.",
    "baseline_template": "Get the foo bar.",
    "baseline_lead": "Lead of it.",
    "baseline_name": "foo bar",
  }


def test_the_lead_comes_from_the_last_part_of_a_source():
  pairs = [(f"answer{n}{SEPARATOR}First {n}. Second.", f"What {n}?") for n in "abc"]
  fitted = baselines.fit(["What?"], pairs)
  assert list(fitted) == ["baseline_constant", "baseline_lead"]
  assert [fitted["baseline_lead"](source) for source, _ in pairs] == [
    "First a.",
    "First b.",
    "First c.",
  ]


def test_without_signatures_no_baseline_uses_names():
  fitted = baselines.fit(["{} {x}"], [("Where is it?", "Here."), ("def f()\na", "b")])
  assert list(fitted) == ["baseline_constant", "baseline_lead"]
  assert fitted["baseline_constant"]("any") == "{} {x}"
