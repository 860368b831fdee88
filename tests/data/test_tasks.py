# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""seqio tasks give the same examples as the loader."""

import numpy as np
import pytest
import seqio
import tensorflow as tf
import tiny_text

from elmer_jax.core.errors import UserError
from elmer_jax.data import seqio_vocabulary, tasks
from elmer_jax.data.cache import writer
from elmer_jax.data.cache.cache import CacheKey, open_cache
from elmer_jax.data.corruption import Corruption
from elmer_jax.data.datasets.dataset import DatasetSpec
from elmer_jax.data.datasets.local_files import text_files_dataset
from elmer_jax.data.loader import Batches
from elmer_jax.tokenizer.special_ids import PAD_ID

SOURCE, TARGET = 32, 28
LENGTHS = {"inputs": SOURCE, "targets": TARGET}
TEXTS = tiny_text.documents(30)
PAIRS = [(text, text[:30]) for text in TEXTS]


@pytest.fixture(scope="module", autouse=True)
def vocabulary(tmp_path_factory):
  folder = tmp_path_factory.mktemp("vocabulary")
  vocabulary = tiny_text.vocabulary()
  vocabulary.save(folder)
  tasks.use_vocabulary(folder)
  return vocabulary


@pytest.fixture(scope="module")
def lplm_task():
  spec = DatasetSpec("tiny_lplm", "lplm", lambda split: iter(TEXTS), ("train",))
  yield tasks.register_lplm(spec)
  seqio.TaskRegistry.remove("tiny_lplm")


@pytest.fixture(scope="module")
def pairs_task():
  spec = DatasetSpec("tiny_pairs", "pairs", lambda split: iter(PAIRS), ("train",))
  yield tasks.register_pairs(spec)
  seqio.TaskRegistry.remove("tiny_pairs")


def loader_batch(spec, folder, vocabulary, seed) -> dict[str, np.ndarray]:
  """Returns all examples in the order of the cache, as one batch."""
  key = CacheKey.create(spec.name, spec.kind, "train", vocabulary, SOURCE, TARGET)
  writer.write_cache(folder, spec, key, vocabulary)
  cache = open_cache(folder, key)
  return Batches(
    [(cache, 1.0)],
    batch_size=len(cache),
    source_length=SOURCE,
    target_length=TARGET,
    seed=seed,
    corruption=Corruption.from_vocabulary(vocabulary) if spec.kind == "lplm" else None,
    shuffle=False,
    single_pass=True,
  )[0]


def assert_same(examples: list[dict], batch: dict[str, np.ndarray]):
  assert len(examples) == len(batch["source_ids"]) > 20
  for row, example in enumerate(examples):
    for feature, name in (("inputs", "source_ids"), ("targets", "target_ids")):
      ids = batch[name][row]
      assert example[feature].dtype == np.int32
      np.testing.assert_array_equal(example[feature], ids[ids != PAD_ID])


@pytest.mark.parametrize("seed", [0, 3])
def test_windows_are_those_of_the_loader(lplm_task, tmp_path, vocabulary, seed):
  dataset = lplm_task.get_dataset(LENGTHS, "train", shuffle=False, seed=seed)
  examples = list(dataset.as_numpy_iterator())
  spec = lplm_task.source.spec
  assert_same(examples, loader_batch(spec, tmp_path, vocabulary, seed))


def test_a_shuffled_task_has_the_same_examples(lplm_task):
  def examples(shuffle):
    dataset = lplm_task.get_dataset(LENGTHS, "train", shuffle=shuffle, seed=1)
    rows = [tuple(map(tuple, e.values())) for e in dataset.as_numpy_iterator()]
    return rows, sorted(rows)

  shuffled, plain = examples(True), examples(False)
  assert shuffled[0] != plain[0] and shuffled[1] == plain[1]


def test_a_second_epoch_is_corrupted_differently(lplm_task):
  dataset = lplm_task.get_dataset(LENGTHS, "train", shuffle=False, seed=1, num_epochs=2)
  inputs = [tuple(e["inputs"]) for e in dataset.as_numpy_iterator()]
  half = len(inputs) // 2
  same = sum(a == b for a, b in zip(inputs[:half], inputs[half:], strict=True))
  assert same < 0.2 * half


def test_pairs_are_those_of_the_loader(pairs_task, tmp_path, vocabulary):
  dataset = pairs_task.get_dataset(LENGTHS, "train", shuffle=False)
  examples = list(dataset.as_numpy_iterator())
  spec = pairs_task.source.spec
  assert_same(examples, loader_batch(spec, tmp_path, vocabulary, 0))
  texts = [e["targets_pretokenized"].decode() for e in examples]
  assert texts == [target for _, target in PAIRS]


def test_the_default_task_and_mixture_are_registered(vocabulary):
  task = seqio.get_mixture_or_task("pydocs_lplm")
  mixture = seqio.get_mixture_or_task("pydocs_pretrain")
  assert set(task.splits) == {"train", "validation", "test"}
  for provider in (task, mixture):
    assert set(provider.output_features) == {"inputs", "targets"}
    assert provider.output_features["inputs"].vocabulary.vocab_size == vocabulary.size
  assert tasks.dataset_specs_of("pydocs_pretrain") == [(task.source.spec, 1.0)]
  assert tasks.dataset_specs_of("pydocs_lplm") == [(task.source.spec, 1.0)]


def test_mixture_rates(lplm_task, pairs_task):
  seqio.MixtureRegistry.add("both", [("tiny_lplm", 3.0), ("tiny_pairs", 0.5)])
  found = {spec.name: rate for spec, rate in tasks.dataset_specs_of("both")}
  seqio.MixtureRegistry.remove("both")
  assert found == {"tiny_lplm": 3.0, "tiny_pairs": 0.5}


def test_mixture_errors(lplm_task):
  with pytest.raises(UserError, match="no task 'tiny_lpm'. Did you mean 'tiny_lplm'"):
    tasks.register_mixture("a_mixture", ["tiny_lplm", "tiny_lpm"])
  for taken in ("tiny_lplm", "books_wiki_lplm"):
    with pytest.raises(UserError, match=f"task or mixture {taken} already exists"):
      tasks.register_mixture(taken, ["tiny_lplm"])
  assert "a_mixture" not in seqio.MixtureRegistry.names()


def test_own_text_files(tmp_path):
  (tmp_path / "a.txt").write_text("\n".join(t.replace("\n", " ") for t in TEXTS))
  spec = text_files_dataset("own_lplm", str(tmp_path / "*.txt"))
  task = tasks.register_lplm(spec)
  examples = list(task.get_dataset(LENGTHS, "validation").as_numpy_iterator())
  seqio.TaskRegistry.remove("own_lplm")
  assert examples


def test_the_vocabulary_is_the_same_in_tensorflow(vocabulary):
  wrapped = tasks.VOCABULARY
  text = "Ünïcode <mask> \t and\nlines, 你好."
  ids = vocabulary.encode(text)
  assert wrapped.encode(text) == ids.tolist()
  np.testing.assert_array_equal(wrapped.encode_tf(tf.constant(text)), ids)
  assert wrapped.decode([*ids.tolist(), wrapped.eos_id, 7, 8]) == text
  rows = tf.constant([[*ids.tolist(), wrapped.eos_id, 7]] * 2, tf.int32)
  assert [t.decode() for t in wrapped.decode_tf(rows).numpy()] == [text] * 2
  special_ids = [wrapped.bos_id, wrapped.pad_id, wrapped.eos_id, wrapped.unk_id]
  assert special_ids == [0, 1, 2, 3]


def test_task_errors(lplm_task, monkeypatch):
  with pytest.raises(UserError, match="no task or mixture 'tiny_lpm'.*'tiny_lplm'"):
    tasks.dataset_specs_of("tiny_lpm")
  with pytest.raises(UserError, match="task tiny_lplm already exists"):
    tasks.register_lplm(lplm_task.source.spec)
  with pytest.raises(UserError, match="need sequence_length"):
    lplm_task.get_dataset(None, "train")
  monkeypatch.setattr(seqio_vocabulary, "_vocabulary_directory", None)
  monkeypatch.delenv(seqio_vocabulary.VOCABULARY_VARIABLE, raising=False)
  with pytest.raises(UserError, match="no vocabulary is chosen"):
    tasks.VOCABULARY.encode("text")
