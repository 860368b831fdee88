# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Metrics on texts that can be scored by hand."""

import importlib.machinery
import importlib.util
import math
import shutil

import pytest

from elmer_jax.metrics import meteor, rouge_stemmer, text_metrics


def test_rouge_by_hand():
  """Four of six words, one of five pairs of words, four words in order."""
  found = text_metrics.rouge(["The cat sat on the mat."], ["the cat is on a mat"])
  assert found == pytest.approx({"rouge1": 400 / 6, "rouge2": 20, "rougeL": 400 / 6})


def test_the_best_of_several_references_counts():
  targets, prediction = ["a dog barks", "the cat sat"], ["the cat sat"]
  for metric in (text_metrics.rouge, text_metrics.bleu2, text_metrics.chrf):
    several = metric([targets], prediction)
    assert several == metric([targets[1]], prediction)
    assert several != metric([targets[0]], prediction)


def test_chrf_compares_texts_of_any_script():
  target, near, far = "кошка сидит", "кошки сидят", "собака лает"
  scores = [text_metrics.chrf([target], [text])["chrf"] for text in (target, near, far)]
  assert scores[0] == 100 and scores[0] > scores[1] > scores[2]
  assert text_metrics.rouge([target], [target])["rougeL"] == 0
  assert text_metrics.share_without_words([target, "a cat"]) == 0.5


def test_rouge_is_the_mean_of_f_measures():
  found = text_metrics.rouge(["a b c d", "x y"], ["a b", "z"])
  assert found == pytest.approx({"rouge1": 100 / 3, "rouge2": 25, "rougeL": 100 / 3})


def test_rouge_ignores_case_punctuation_and_inflection():
  found = text_metrics.rouge(["Returns the numbers!"], ["return (the) number"])
  assert found == pytest.approx(dict.fromkeys(text_metrics.ROUGE, 100))
  assert text_metrics.rouge(["Something."], [""])["rouge1"] == 0


def test_stems_are_those_of_rouge_1_5_5():
  """Irregular forms have their base form's stem; short words stay as they are."""
  words = "took taken children biggest running relational were was has"
  stems = "take take child big run relat be was has"
  assert [rouge_stemmer.stem(word) for word in words.split()] == stems.split()
  assert text_metrics.rouge(["They took it."], ["They take it."])["rouge2"] == 100


def test_every_irregular_form_is_long_enough_and_has_one_base():
  forms = rouge_stemmer.irregular_forms()
  assert all(len(form) > rouge_stemmer.SHORTEST for form in forms)
  tables = " ; ".join(
    [rouge_stemmer._VERBS, rouge_stemmer._NOUNS, rouge_stemmer._COMPARISONS]
  )
  entries = [entry.split() for entry in tables.split(";")]
  assert sum(len(words) - 1 for words in entries) == len(forms)
  assert all(len(words) > 1 for words in entries)


def test_rouge_lsum_matches_lines_in_any_order():
  target, prediction = "the cat sat\na dog ran", "a dog ran\nthe cat sat"
  found = text_metrics.rouge_with_lsum([target], [prediction])
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


def test_bleu_is_zero_without_a_matching_ngram():
  found = text_metrics.bleu(["a b c d e", "f g"], ["a b c x e", "f g"])
  assert list(found) == ["bleu1", "bleu2", "bleu3", "bleu4"]
  assert found["bleu3"] > 0 and found["bleu4"] == 0
  assert found["bleu1"] > found["bleu2"] > found["bleu3"]
  assert text_metrics.bleu(["a b c d"], ["a b c d"]) == pytest.approx(
    dict.fromkeys(found, 100)
  )


def test_distinct_n_is_counted_over_all_outputs():
  """Words a b a c, bigrams ab, ac; shorter outputs have no bigrams."""
  found = text_metrics.distinct_n(["r"] * 4, ["a b", "A c", "", "c"])
  assert found == pytest.approx({"distinct1": 60, "distinct2": 100})
  assert text_metrics.distinct_n(["r"], [""]) == {"distinct1": 0, "distinct2": 0}


HAS_METEOR = importlib.util.find_spec("pycocoevalcap") and shutil.which("java")


@pytest.mark.skipif(not HAS_METEOR, reason="needs Java and the extra `meteor`")
def test_meteor_is_one_score_over_all_texts():
  targets = ["the cat is on the mat .", "a\u2028big house", "ünïcode"]
  predictions = ["the cat sat on the mat", "a large house", ""]
  found = text_metrics.meteor(targets, predictions)
  assert 0 < found["meteor"] < 100
  synonym = text_metrics.meteor(["a big house"], ["a large house"])["meteor"]
  other = text_metrics.meteor(["a big house"], ["a green house"])["meteor"]
  assert synonym > other + 10
  assert text_metrics.meteor(targets[:2], targets[:2])["meteor"] > 95


@pytest.mark.parametrize("missing", ["java", "package"])
def test_without_java_or_package_meteor_is_skipped_with_one_warning(
  missing, monkeypatch, caplog, tmp_path
):
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
  [warning] = [record.getMessage() for record in caplog.records]
  assert ("needs Java" if missing == "java" else "install the extra") in warning


def test_distinct_outputs_is_a_share():
  assert text_metrics.distinct_outputs(["r"] * 4, ["a", "b", "a", "a"]) == {
    "distinct_outputs": 0.5
  }


def test_post_processing_returns_one_line():
  assert text_metrics.one_line(" a\n b\t\tc\u2028d ", is_target=True) == "a b c d"
