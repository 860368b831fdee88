# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Exported folders open in transformers and compute the same. By hand: `-m torch`."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
import tiny_text
from golden_cases import TOLERANCE

from elmer_jax.checkpoints.huggingface import hf_folder
from elmer_jax.decoding import autoregressive, decoding_model
from elmer_jax.decoding.incremental import Search
from elmer_jax.model import elmer
from elmer_jax.objectives.autoregressive import decoder_input
from elmer_jax.objectives.linear_cross_entropy import full_logits

pytestmark = pytest.mark.torch

SIZES = {
  "plain": {},
  "scaled": {"scale_embedding": True},
  "uneven": {
    "encoder_layers": 1,
    "decoder_layers": 4,
    "encoder_heads": 8,
    "decoder_heads": 2,
    "encoder_feed_forward": 48,
    "decoder_feed_forward": 80,
  },
}
SEARCH = Search(beams=4, no_repeat_ngram=3, early_stopping=True, length_penalty=2.0)


@pytest.fixture(params=SIZES)
def exported(request, tmp_path):
  """Sizes, parameters and folder of a model in which every term counts."""
  vocabulary = tiny_text.vocabulary()
  config = dataclasses.replace(
    tiny.model_config(vocabulary.size, model__dropout=0.0), **SIZES[request.param]
  )
  rng = np.random.default_rng(3)
  params = jax.tree.map(
    lambda leaf: leaf + jnp.float32(rng.normal(0, 0.15, leaf.shape)),
    elmer.initialise(config, 3),
  )
  metadata = {
    "objective": {"name": "autoregressive"},
    "source_length": 16,
    "target_length": 12,
    "generation": dataclasses.asdict(SEARCH),
  }
  hf_folder.write(str(tmp_path / "hf"), config, params, metadata, vocabulary)
  return config, params, tmp_path / "hf"


def theirs(folder):
  import transformers

  return transformers.BartForConditionalGeneration.from_pretrained(folder).eval()


def test_logits_are_the_same(exported):
  import torch

  config, params, folder = exported
  batch = tiny.batch()
  model = elmer.bind(config, params)
  encoded, mask = model.encode(jnp.asarray(batch["source_ids"]))
  ids = decoder_input(jnp.asarray(batch["target_ids"]))
  hidden, _, _ = model.decode(ids, encoded, mask, causal=True)
  ours = full_logits(hidden, model.head())[..., : config.vocabulary_size]
  with torch.no_grad():
    found = theirs(folder)(
      input_ids=torch.from_numpy(batch["source_ids"]).long(),
      attention_mask=torch.from_numpy(batch["source_ids"] != 1).long(),
      decoder_input_ids=torch.from_numpy(np.array(ids)).long(),
    ).logits.numpy()
  np.testing.assert_allclose(ours, found, atol=TOLERANCE, rtol=0)


def test_searches_find_the_same_with_the_settings_of_the_folder(exported):
  import torch

  config, params, folder = exported
  source = tiny.batch()["source_ids"]
  prepared = decoding_model.prepare(config, params)
  ours = autoregressive.decode(config, prepared, source, length=11, search=SEARCH)
  found = (
    theirs(folder)
    .generate(
      torch.from_numpy(source).long(),
      attention_mask=torch.from_numpy(source != 1).long(),
    )
    .numpy()
  )
  best = np.asarray(ours.ids[:, 0])[:, : found.shape[1] - 1]
  np.testing.assert_array_equal(best, found[:, 1:])


def test_the_tokenizer_gives_the_same_ids(exported):
  import transformers

  tokenizer = transformers.AutoTokenizer.from_pretrained(exported[2])
  vocabulary = tiny_text.vocabulary()
  for text in tiny_text.documents(50, seed=7):
    found = tokenizer(text)["input_ids"]
    assert found == [0, *vocabulary.encode(text).tolist(), 2]
  assert tokenizer.mask_token_id == vocabulary.mask_id
