# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Texts with masks have the ids that BART's tokenizer gives."""

import pytest
import tiny_text
import tokenizers
from tokenizers import models, pre_tokenizers

from elmer_jax.tokenizer import mask_text

TEXTS = [
  "The small <mask> on the list.",
  "<mask> a writer",
  " <mask>  returns the number <mask>.",
  "reader \n<mask>writer<mask><mask> text\t <mask>\n",
  "a\u00a0<mask>\u3000b\u2009<mask>",
  "<mask>",
  "no mask",
]


@pytest.fixture(scope="module")
def bart(tmp_path_factory):
  """BART's fast tokenizer: byte-level BPE with a mask that strips on its left."""
  folder = tmp_path_factory.mktemp("vocabulary")
  tiny_text.vocabulary().save(folder)
  tokenizer = tokenizers.Tokenizer(
    models.BPE.from_file(str(folder / "vocab.json"), str(folder / "merges.txt"))
  )
  tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
  tokenizer.add_special_tokens([tokenizers.AddedToken("<mask>", lstrip=True)])
  return tokenizer


@pytest.mark.parametrize("text", TEXTS)
def test_ids_are_those_of_bart(bart, text):
  ids = mask_text.encode(tiny_text.vocabulary(), text)
  assert ids.tolist() == bart.encode(text).ids


def test_a_decoded_text_has_the_same_ids():
  vocabulary = tiny_text.vocabulary()
  ids = mask_text.encode(vocabulary, TEXTS[0])
  again = mask_text.encode(vocabulary, mask_text.decode(vocabulary, ids))
  assert again.tolist() == ids.tolist()
