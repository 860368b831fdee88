# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""The corruption has the measured statistics of the published script.

tests/golden/corruption_stats.json was measured with the unmodified script. Two samples
are compared, so a difference of means of up to five standard errors is allowed; the
seeds are fixed, so the tests are deterministic.
"""

import collections
import itertools
import json
import math
import pathlib

import numpy as np
import pytest

from elmer_jax.data import corruption as c

GOLDEN = json.loads(
  (pathlib.Path(__file__).parents[1] / "golden" / "corruption_stats.json").read_text()
)
SAMPLES = {32: 3000, 128: 1500, 512: 600}
STOP = 4
# The word starts of the golden edge cases, and those ids that only continue a word.
EDGE_WORD_STARTS = (11, 13, 16, 18)


def tables(size: int, word_starts, **ratios) -> c.Corruption:
  starts, stops = np.zeros(size, bool), np.zeros(size, bool)
  starts[list(word_starts)] = True
  stops[STOP] = True
  return c.Corruption(size, starts, stops, **ratios)


# Even ids from 1000 on begin a word, odd ones continue it. A text has a different id at
# each position, so that an output shows where its tokens were.
UNIQUE = tables(1_000_000, range(1000, 3000, 2))


def unique_text(length: int, rng: np.random.Generator) -> np.ndarray:
  """A text as in the golden numbers: word starts at a rate of 1 / 1.35."""
  continues = rng.random(length - 2) >= 1 / 1.35
  continues[0] = True  # a text's first token has no space before it
  return (1000 + 2 * np.arange(length - 2) + continues).astype(np.int32)


def assert_same_mean(ours, golden_mean: float, golden_sd: float, golden_count: int):
  ours = np.asarray(ours, float)
  error = math.sqrt(ours.var() / len(ours) + golden_sd**2 / golden_count)
  assert abs(ours.mean() - golden_mean) < 5 * error, (ours.mean(), golden_mean, error)


def assert_same_frequencies(ours: dict[int, int], golden: dict[str, int]):
  """Compares the relative frequencies of two counts."""
  ours, golden = collections.Counter(ours), {int(k): n for k, n in golden.items()}
  total, golden_total = sum(ours.values()), sum(golden.values())
  for key in ours.keys() | golden.keys():
    frequency = (ours[key] + golden.get(key, 0)) / (total + golden_total)
    error = math.sqrt(frequency * (1 - frequency) * (1 / total + 1 / golden_total))
    difference = ours[key] / total - golden.get(key, 0) / golden_total
    assert abs(difference) <= 5 * error, (key, ours[key] / total, difference, error)


@pytest.mark.parametrize("golden", GOLDEN["infilling"], ids=lambda row: f"L{row['L']}")
def test_infilling_has_the_published_statistics(golden):
  length, rng = golden["L"], np.random.default_rng(golden["L"])
  values, runs = collections.defaultdict(list), collections.Counter()
  for index in range(SAMPLES[length]):
    ids = unique_text(length, rng)
    starts = ids % 2 == 0
    result = c.infill(ids, c.example_rng(0, index), UNIQUE)
    left = np.isin(ids, result)
    new = ~np.isin(result, ids)
    values["words_gone_fraction"].append(1 - left[starts].mean())
    values["tokens_gone_fraction_of_original"].append(1 - left.mean())
    values["output_len_over_input_len"].append((len(result) + 2) / length)
    values["placeholders_per_original_token"].append(new.sum() / len(ids))
    values["words"].append(starts.sum())
    values["masks"].append((result == UNIQUE.mask_id).sum())
    values["new"].append(new.sum())
    runs.update(len(list(run)) for is_new, run in itertools.groupby(new) if is_new)

  count = golden["samples"]
  for name in list(values)[:4]:
    assert_same_mean(values[name], golden[name]["mean"], golden[name]["sd"], count)
  for name, golden_name in (("masks", "mask_tokens"), ("new", "placeholders")):
    per_word = np.divide(values[name], values["words"])
    scaled = per_word * np.mean(values["words"]) / golden["word_starts_mean"]
    sd = per_word.std()  # the golden file has no sd for these
    assert_same_mean(scaled, golden[f"{golden_name}_per_word"], sd, count)
  new, masks = sum(values["new"]), sum(values["masks"])
  is_random = np.repeat([1, 0], [new - masks, masks])
  ratio = golden["random_fraction_of_placeholders"]
  golden_new = golden["placeholders_per_text"] * count
  assert_same_mean(is_random, ratio, math.sqrt(ratio * (1 - ratio)), golden_new)
  assert_same_frequencies(runs, golden["placeholder_run_length_hist"])


@pytest.mark.parametrize("golden", GOLDEN["infilling"], ids=lambda row: f"L{row['L']}")
def testdraw_span_lengths_have_the_published_statistics(golden):
  length, rng = golden["L"], np.random.default_rng(golden["L"])
  lengths, insertions = collections.Counter(), collections.Counter()
  for index in range(SAMPLES[length]):
    words = int((unique_text(length, rng) % 2 == 0).sum())
    budget = math.ceil(0.3 * words)
    drawn = c.draw_span_lengths(budget, c.example_rng(0, index), UNIQUE)
    assert drawn.sum() == budget and drawn[-1] > 0
    lengths.update(drawn.tolist())
    insertions[int((drawn == 0).sum())] += 1
  assert_same_frequencies(lengths, golden["drawn_span_length_hist_after_trimming"])
  assert_same_frequencies(insertions, golden["inserts_per_text_hist"])


@pytest.mark.parametrize("row", GOLDEN["insertion_noise"]["rows"], ids=str)
def test_insertions_have_the_published_counts(row):
  ids = np.arange(1000, 1000 + row["len"] - 2, dtype=np.int32)
  for index in range(30):
    result = c.insert_masks(ids, row["asked"], c.example_rng(0, index), UNIQUE)
    new = ~np.isin(result, ids)
    np.testing.assert_array_equal(result[~new], ids)
    assert [new.sum()] == row["inserted"]
    assert [(result[new] != UNIQUE.mask_id).sum()] == row["random_of_inserted"]


def test_insertions_reach_every_position():
  ids = np.array([1000, 1001, 1002], np.int32)
  positions = collections.Counter(
    int((~np.isin(c.insert_masks(ids, 1, c.example_rng(0, i), UNIQUE), ids)).argmax())
    for i in range(2000)
  )
  assert_same_frequencies(positions, {str(position): 10_000 for position in range(4)})


def edge_cases():
  return [pytest.param(case, id=name) for name, case in GOLDEN["edge_cases"].items()]


@pytest.mark.parametrize("case", edge_cases())
def test_edge_cases(case):
  ids = np.array(case["ids"][1:-1], np.int32)
  corruption = tables(50265, EDGE_WORD_STARTS)
  orders, lengths = collections.Counter(), collections.Counter()
  for index in range(1200):
    order = c.permute_sentences(ids, c.example_rng(0, index), corruption)
    orders[str([0, *order.tolist(), 2])] += 1
    result = c.corrupt(ids, c.example_rng(0, index), corruption)
    lengths[len(result) + 2] += 1
    if case.get("infilling_left_text_unchanged") == case["tries"]:
      np.testing.assert_array_equal(result, ids)
  golden = case["distinct_permutations"]
  names = sorted(golden)
  assert orders.keys() == golden.keys()
  assert_same_frequencies(
    {names.index(order): count for order, count in orders.items()},
    {str(names.index(order)): count for order, count in golden.items()},
  )
  assert_same_frequencies(lengths, case["output_length_hist"])


def test_all_outputs_of_a_small_text():
  """Two words of two tokens, a budget of one word: all outputs, enumerated by hand."""
  ids = np.array([11, 10, 13, 12], np.int32)
  corruption = tables(50, EDGE_WORD_STARTS, random_ratio=0)
  mask = corruption.mask_id
  outputs = {
    tuple(c.infill(ids, c.example_rng(0, i), corruption).tolist()) for i in range(20000)
  }
  without_insertion = {(mask, 13, 12), (11, 10, mask)}
  with_one = {
    (*text[:position], mask, *text[position:])
    for text in without_insertion
    for position in range(4)
  }
  assert {text for text in outputs if len(text) < 5} == without_insertion | with_one


def test_a_span_ends_at_the_end_of_the_text():
  ids = np.array([11, 10, 10, 10], np.int32)
  corruption = tables(50, EDGE_WORD_STARTS, random_ratio=0)
  results = [c.infill(ids, c.example_rng(0, i), corruption) for i in range(50)]
  assert all(set(result.tolist()) == {corruption.mask_id} for result in results)


@pytest.mark.parametrize("sentences", [2, 3])
def test_sentence_orders_are_uniform(sentences):
  ids = np.array([[10 + i, 20 + i, STOP] for i in range(sentences)]).reshape(-1)
  orders = collections.Counter(
    tuple(c.permute_sentences(ids, c.example_rng(0, i), UNIQUE).tolist())
    for i in range(6000)
  )
  assert len(orders) == math.factorial(sentences)
  number = {order: i for i, order in enumerate(orders)}
  assert_same_frequencies(
    {number[order]: count for order, count in orders.items()},
    {str(i): 10**6 for i in number.values()},
  )


def test_sentences_stay_intact():
  rng = np.random.default_rng(0)
  for index in range(200):
    lengths = rng.integers(1, 9, rng.integers(1, 12))
    sentences = [[*rng.integers(10, 99, length).tolist(), STOP] for length in lengths]
    ids = np.concatenate(sentences)
    result = c.permute_sentences(ids, c.example_rng(0, index), UNIQUE).tolist()
    ends = [i + 1 for i, token in enumerate(result) if token == STOP]
    starts = [0, *ends[:-1]]
    found = [result[start:end] for start, end in zip(starts, ends, strict=True)]
    assert sorted(found) == sorted(sentences)


def test_random_tokens_are_ordinary_ids():
  corruption = tables(12, [5, 7], random_ratio=1.0)
  ids = np.array([5, 6, 7, 8] * 10, np.int32)
  results = [c.infill(ids, c.example_rng(0, i), corruption) for i in range(500)]
  seen = set(np.concatenate(results).tolist())
  assert seen == set(range(4, 11))  # neither BOS, PAD, EOS, UNK nor MASK


def test_corruption_is_a_function_of_seed_and_index():
  ids = unique_text(128, np.random.default_rng(0))
  ids.setflags(write=False)  # modifying it would raise

  def result(seed, index):
    return c.corrupt(ids, c.example_rng(seed, index), UNIQUE).tolist()

  assert result(1, 2) == result(1, 2)
  several = [result(*key) for key in [(1, 2), (2, 1), (1, 3), (2, 2), (-1, 2)]]
  assert len(set(map(tuple, several))) == len(several)


def test_example_rng_is_philox_of_the_two_integers():
  expected = np.random.Generator(np.random.Philox(key=[7, 11])).random(5)
  np.testing.assert_array_equal(c.example_rng(7, 11).random(5), expected)
