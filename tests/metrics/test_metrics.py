# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Scores and baselines on texts that can be scored by hand."""

import importlib.machinery
import importlib.util
import math
import shutil

import pytest

from elmer_jax.data.datasets.dataset import SEPARATOR
from elmer_jax.evaluation import baselines
from elmer_jax.metrics import meteor, rouge_stemmer, text_metrics


def test_rouge_by_hand():
  """Four of six words, one of five pairs of words, four words in order."""
  found = text_metrics.rouge(["The cat sat on the mat."], ["the cat is on a mat"])
  assert found == pytest.approx({"rouge1": 400 / 6, "rouge2": 20, "rougeL": 400 / 6})


def test_rouge_is_the_mean_of_f_measures():
  found = text_metrics.rouge(["a b c d", "x y"], ["a b", "z"])
  assert found == pytest.approx({"rouge1": 100 / 3, "rouge2": 25, "rougeL": 100 / 3})


def test_rouge_compares_stems_and_no_case_or_marks():
  found = text_metrics.rouge(["Returns the numbers!"], ["return (the) number"])
  assert found == pytest.approx(dict.fromkeys(text_metrics.ROUGE, 100))
  assert text_metrics.rouge(["Something."], [""])["rouge1"] == 0


def test_stems_are_those_of_rouge_1_5_5():
  """Irregular forms have their base form's stem; short words stay as they are."""
  words = "said taken children biggest running relational were was has"
  stems = "say take child big run relat be was has"
  assert [rouge_stemmer.stem(word) for word in words.split()] == stems.split()
  assert text_metrics.rouge(["They said it."], ["They say it."])["rouge2"] == 100


def test_no_irregular_form_is_short_or_has_two_bases():
  forms = rouge_stemmer.irregular_forms()
  assert all(len(form) > rouge_stemmer.SHORTEST for form in forms)
  tables = " ; ".join(
    [rouge_stemmer._VERBS, rouge_stemmer._NOUNS, rouge_stemmer._COMPARISONS]
  )
  entries = [entry.split() for entry in tables.split(";")]
  assert sum(len(words) - 1 for words in entries) == len(forms)
  assert all(len(words) > 1 for words in entries)


def test_rouge_of_lines_takes_sentences_in_any_order():
  target, prediction = "the cat sat\na dog ran", "a dog ran\nthe cat sat"
  found = text_metrics.rouge_of_lines([target], [prediction])
  assert found["rougeLsum"] == 100 and found["rougeL"] == 50
  assert text_metrics.lines(" a  b \n\n c\t\n", is_target=True) == "a b\nc"


def test_bleu_by_hand():
  """Over all texts: 7 of 8 words, 3 of 6 pairs; 8 words where 10 should be."""
  targets = ["the cat sat on the mat", "a b c d"]
  predictions = ["The cat on the mat", "a x d"]
  found = text_metrics.bleu2(targets, predictions)
  brevity = math.exp(1 - 10 / 8)
  assert found == pytest.approx(
    {"bleu1": 100 * brevity * 7 / 8, "bleu2": 100 * brevity * math.sqrt(7 / 8 * 3 / 6)}
  )


def test_bleu_of_four_words_is_zero_without_a_match():
  found = text_metrics.bleu(["a b c d e", "f g"], ["a b c x e", "f g"])
  assert list(found) == ["bleu1", "bleu2", "bleu3", "bleu4"]
  assert found["bleu3"] > 0 and found["bleu4"] == 0
  assert found["bleu1"] > found["bleu2"] > found["bleu3"]
  assert text_metrics.bleu(["a b c d"], ["a b c d"]) == pytest.approx(
    dict.fromkeys(found, 100)
  )


def test_distinct_words_are_counted_over_all_outputs():
  """Words a b a c, pairs ab, ac; the empty output and single words have no pairs."""
  found = text_metrics.distinct_words(["r"] * 4, ["a b", "A c", "", "c"])
  assert found == pytest.approx({"distinct1": 60, "distinct2": 100})
  assert text_metrics.distinct_words(["r"], [""]) == {"distinct1": 0, "distinct2": 0}


HAS_METEOR = importlib.util.find_spec("pycocoevalcap") and shutil.which("java")


@pytest.mark.skipif(not HAS_METEOR, reason="needs Java and the extra `meteor`")
def test_meteor_is_one_figure_over_all_texts():
  targets = ["the cat is on the mat .", "a\u2028big house", "ünïcode"]
  predictions = ["the cat sat on the mat", "a large house", ""]
  found = text_metrics.meteor(targets, predictions)
  assert 0 < found["meteor"] < 100
  synonym = text_metrics.meteor(["a big house"], ["a large house"])["meteor"]
  other = text_metrics.meteor(["a big house"], ["a green house"])["meteor"]
  assert synonym > other + 10
  assert text_metrics.meteor(targets[:2], targets[:2])["meteor"] > 95


@pytest.mark.parametrize("missing", ["java", "package"])
def test_meteor_is_left_out_with_a_word(missing, monkeypatch, caplog, tmp_path):
  folder = tmp_path / "pycocoevalcap"
  (folder / "meteor").mkdir(parents=True)
  (folder / "meteor" / "meteor-1.5.jar").write_text("not a program")
  spec = importlib.machinery.ModuleSpec("pycocoevalcap", None, is_package=True)
  spec.submodule_search_locations.append(str(folder))
  found = None if missing == "package" else spec
  monkeypatch.setattr(meteor.importlib.util, "find_spec", lambda name: found)
  monkeypatch.setattr(meteor.shutil, "which", lambda name: None)
  meteor._warn_once.cache_clear()
  for _ in range(2):
    assert text_metrics.meteor(["a"], ["a"]) == {}
  said = [record.getMessage() for record in caplog.records]
  assert len(said) == 1
  assert ("needs Java" if missing == "java" else "install the extra") in said[0]


def test_distinct_outputs_are_a_share():
  assert text_metrics.distinct(["r"] * 4, ["a", "b", "a", "a"]) == {
    "distinct_outputs": 0.5
  }


def test_post_processing_leaves_one_line():
  assert text_metrics.one_line(" a\n b\t\tc\u2028d ", is_target=True) == "a b c d"


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


def test_of_sources_with_parts_the_last_one_leads():
  pairs = [(f"answer{n}{SEPARATOR}First {n}. Second.", f"What {n}?") for n in "abc"]
  writers = baselines.fit(["What?"], pairs)
  assert list(writers) == ["baseline_constant", "baseline_lead"]
  assert [writers["baseline_lead"](source) for source, _ in pairs] == [
    "First a.",
    "First b.",
    "First c.",
  ]


def test_texts_without_signatures_have_no_baselines_of_names():
  writers = baselines.fit(["{} {x}"], [("Where is it?", "Here."), ("def f()\na", "b")])
  assert list(writers) == ["baseline_constant", "baseline_lead"]
  assert writers["baseline_constant"]("any") == "{} {x}"
