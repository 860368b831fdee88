# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""The vocabulary: BART's id order, the ids of `tokenizers`, lossless decoding."""

import itertools
import json
import pickle
import time

import numpy as np
import pytest
import tiny_text
import tokenizers

from elmer_jax.core.errors import UserError
from elmer_jax.tokenizer import bpe
from elmer_jax.tokenizer.bpe import Vocabulary

SIZE = 400

AWKWARD = [
  "",
  " ",
  "\n",
  "Hello",
  "the cat's, they'll and I'd've; CAN'T",
  "two  spaces, three   and a trailing one ",
  "tabs\tand\n\nblank lines\r\n\r\nand \n mixed \t\n ends",
  "emoji 😀👩‍👩‍👧‍👦🇩🇪 and e\u0301 combining Z͑ͫ̓ͪ̂ͫ̽͏̴̙̤̞͉͚̯̞̠͍A̴̵̜̰͔ͫ͗͢",
  "控制字符和中文，以及日本語 ไทย العربية",
  "\x00\x01\x1c\x1f\x7f\x85\xa0\xad\u2028\u2029\u200b\ufeff\ufffd\U0010ffff",
  "<mask> and </s> and <s><pad><unk> are plain text",
  "x = f(a_1, 'b')[2:-3] ** 4.5e-10  # ½ ² ٣ Ⅷ",
]


def sentences(count: int) -> list[str]:
  rng = np.random.default_rng(0)
  words = ["the", "cat", "sat", "on", "a", "mat.", "it's", "said:", "naïve", "12"]
  words += ["dogs\n\n", "barked…", "<mask>"]
  return [" ".join(rng.choice(words, 12)) for _ in range(count)]


def random_texts(count: int) -> list[str]:
  """Texts of random Unicode characters, and of runs of a few characters."""
  rng = np.random.default_rng(1)
  texts = []
  for _ in range(count):
    points = rng.integers(0, 0x110000, 40)
    points = points[(points < 0xD800) | (points > 0xDFFF)]
    few = rng.choice(list(" \n\tab1.'é😀"), 80).tolist()
    texts.append("".join(map(chr, points)) + "".join(few))
  return texts


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
  path = tmp_path_factory.mktemp("vocabulary")
  Vocabulary.train(sentences(500), SIZE, path)
  return path


@pytest.fixture(scope="module")
def vocabulary(directory):
  return Vocabulary.load(directory)


@pytest.fixture(scope="module")
def reference(directory):
  return tokenizers.ByteLevelBPETokenizer(
    str(directory / "vocab.json"), str(directory / "merges.txt")
  )


def test_ids_are_in_barts_order(directory, vocabulary):
  ids = json.loads((directory / "vocab.json").read_text(encoding="utf-8"))
  assert list(ids)[:4] == ["<s>", "<pad>", "</s>", "<unk>"]
  assert list(ids.values()) == list(range(len(ids)))
  assert ids["<mask>"] == vocabulary.mask_id == vocabulary.size - 1
  assert 261 < vocabulary.size <= SIZE


@pytest.mark.parametrize("text", AWKWARD)
def test_ids_are_those_of_tokenizers_and_decode_to_the_text(
  vocabulary, reference, text
):
  ids = vocabulary.encode(text)
  assert ids.dtype == np.int32
  assert ids.tolist() == reference.encode(text).ids
  assert vocabulary.decode(ids) == text
  assert not np.isin(ids, [0, 1, 2, 3, vocabulary.mask_id]).any()


def test_random_texts_decode_to_themselves(vocabulary, reference):
  texts = random_texts(200) + sentences(50)
  encoded = vocabulary.encode_batch(texts)
  for text, ids in zip(texts, encoded, strict=True):
    assert vocabulary.decode(ids) == text
    assert vocabulary.decode(reference.encode(text).ids) == text
  assert [e.tolist() for e in encoded[200:]] == [
    reference.encode(text).ids for text in texts[200:]
  ]


@pytest.mark.parametrize("run", ["a", " ", "\n", "=", "7", "😀", "ab", " \n"])
def test_long_runs_decode_to_themselves(vocabulary, run):
  text = f"before {run * 300_000}after"
  assert vocabulary.decode(vocabulary.encode(text)) == text


def test_encoding_in_blocks_does_not_change_ids_of_words(vocabulary, monkeypatch):
  texts = [" ".join(sentences(5)), "a  b\n\n c \n  d" * 20, "one\ntwo\nthree\n" * 20]
  whole = vocabulary.encode_batch(texts)
  monkeypatch.setattr(bpe, "BLOCK_CHARACTERS", 24)
  for text, ids in zip(texts, whole, strict=True):
    assert vocabulary.encode(text).tolist() == ids.tolist()
  for text in AWKWARD + random_texts(50):
    assert vocabulary.decode(vocabulary.encode(text * 3)) == text * 3


def test_lone_surrogates_are_replaced(vocabulary):
  assert vocabulary.decode(vocabulary.encode("a\ud800b")) == "a\ufffdb"


def test_training_is_deterministic(directory, tmp_path):
  Vocabulary.train(iter(sentences(500)), SIZE, tmp_path / "again")
  assert sorted(p.name for p in (tmp_path / "again").iterdir()) == [
    "merges.txt",
    "vocab.json",
  ]
  for name in ("vocab.json", "merges.txt"):
    assert (tmp_path / "again" / name).read_bytes() == (directory / name).read_bytes()


def test_training_reads_a_bounded_part_of_an_endless_corpus(tmp_path, monkeypatch):
  monkeypatch.setattr(bpe, "TRAINING_CHARACTERS", 10_000)
  endless = itertools.cycle([*sentences(20), "q" * 3_000])
  assert Vocabulary.train(endless, 300, tmp_path).size == 300


def test_a_size_without_room_for_merges_raises(tmp_path):
  with pytest.raises(UserError, match="261 are taken"):
    Vocabulary.train(["text"], 261, tmp_path)
  assert not list(tmp_path.iterdir())


def test_pickle_and_digest(directory, vocabulary, tmp_path):
  copy = pickle.loads(pickle.dumps(vocabulary))
  assert copy.encode(AWKWARD[4]).tolist() == vocabulary.encode(AWKWARD[4]).tolist()
  assert copy.digest == vocabulary.digest
  # The digest depends on the content, not on formatting.
  ids = json.loads((directory / "vocab.json").read_text(encoding="utf-8"))
  shuffled = dict(sorted(ids.items()))
  (tmp_path / "vocab.json").write_text(json.dumps(shuffled, indent=1))
  (tmp_path / "merges.txt").write_bytes((directory / "merges.txt").read_bytes())
  assert Vocabulary.load(tmp_path).digest == vocabulary.digest
  other = Vocabulary.train(sentences(500), 280, tmp_path)
  assert other.digest != vocabulary.digest


def test_special_and_filler_tokens_are_not_text(directory, vocabulary, tmp_path):
  ids = json.loads((directory / "vocab.json").read_text(encoding="utf-8"))
  del ids["<mask>"]
  for token in ("<|endoftext|>", "madeupword0000", "<mask>"):
    ids[token] = len(ids)
  (tmp_path / "vocab.json").write_text(json.dumps(ids))
  (tmp_path / "merges.txt").write_bytes((directory / "merges.txt").read_bytes())
  filled = Vocabulary.load(tmp_path)
  assert filled.size == vocabulary.size + 2
  text = "a <|endoftext|> madeupword0000"
  encoded = filled.encode(text)
  assert encoded.tolist() == vocabulary.encode(text).tolist()
  specials = [0, 1, 2, 3, filled.size - 3, filled.size - 2, filled.mask_id]
  assert filled.decode([*specials, *encoded, *specials]) == text
  assert filled.pieces(specials)[-2:] == ["madeupword0000", "<mask>"]


def test_decoding_ids_outside_the_vocabulary_raises(vocabulary):
  for invalid in (-1, vocabulary.size):
    with pytest.raises(ValueError, match="don't fit a vocabulary"):
      vocabulary.decode([5, invalid])
  assert vocabulary.decode(np.zeros(0, np.int32)) == ""


def test_pieces_are_printable(vocabulary):
  ids = vocabulary.encode(" the cat\n😀")
  pieces = vocabulary.pieces(np.append(ids, vocabulary.mask_id))
  assert "".join(pieces) == r" the cat\n\xf0\x9f\x98\x80<mask>"
  assert all(piece.isprintable() for piece in vocabulary.pieces(range(vocabulary.size)))


def test_tables_mark_word_starts_and_full_stops(vocabulary):
  ids = vocabulary.encode("the cat sat.\nit")
  for table in (vocabulary.word_starts, vocabulary.full_stops):
    assert table.shape == (vocabulary.size,) and table.dtype == np.bool_
    assert not table[[0, 1, 2, 3, vocabulary.mask_id]].any()
  starts = [vocabulary.decode([i]) for i in ids if vocabulary.word_starts[i]]
  assert [start[0] for start in starts] == [" ", " ", "\n"]
  full_stop = vocabulary.encode(".")
  assert np.flatnonzero(vocabulary.full_stops).tolist() == full_stop.tolist()


def damaged(directory, tmp_path, change):
  """A copy of a vocabulary after `change(ids, merge_lines)`."""
  ids = json.loads((directory / "vocab.json").read_text(encoding="utf-8"))
  lines = (directory / "merges.txt").read_text(encoding="utf-8").split("\n")
  change(ids, lines)
  (tmp_path / "vocab.json").write_text(json.dumps(ids))
  (tmp_path / "merges.txt").write_text("\n".join(lines), encoding="utf-8")
  return tmp_path


def swap_ends(ids, lines):
  ids["<s>"], ids["<mask>"] = ids["<mask>"], ids["<s>"]


def leave_a_gap(ids, lines):
  ids["<mask>"] += 1


def lose_a_token(ids, lines):
  filler = {"filler": ids.pop("the" if "the" in ids else "Ġthe")}
  ids.update(filler)


def cut_a_merge(ids, lines):
  lines[5] = lines[5].split(" ")[0]


def reverse_merges(ids, lines):
  lines[1:] = lines[:0:-1]


def repeat_a_merge(ids, lines):
  lines.insert(5, lines[3])


@pytest.mark.parametrize(
  ("change", "message"),
  [
    (swap_ends, "not in BART's order: <s> should have id 0"),
    (leave_a_gap, "each once"),
    (lose_a_token, "lacks 1 tokens"),
    (cut_a_merge, "merges.txt, line 6 is damaged"),
    (reverse_merges, "earlier merge"),
    (repeat_a_merge, "merge 5 makes"),
  ],
)
def test_damaged_files_raise(directory, tmp_path, change, message):
  with pytest.raises(UserError, match=message) as caught:
    Vocabulary.load(damaged(directory, tmp_path, change))
  assert str(tmp_path) in str(caught.value)


def test_missing_and_other_files_raise(directory, tmp_path):
  with pytest.raises(UserError, match="vocab.json is missing"):
    Vocabulary.load(tmp_path)
  (tmp_path / "vocab.json").write_bytes((directory / "vocab.json").read_bytes()[:999])
  with pytest.raises(UserError, match="vocab.json is damaged"):
    Vocabulary.load(tmp_path)
  (tmp_path / "vocab.json").write_text("[1, 2]")
  with pytest.raises(UserError, match="vocab.json is damaged .not a JSON object"):
    Vocabulary.load(tmp_path)
  (tmp_path / "vocab.json").write_text('{"a": "b"}')
  with pytest.raises(UserError, match="merges.txt is missing"):
    Vocabulary.load(tmp_path)
  (tmp_path / "merges.txt").write_bytes(b"\xff\xfe")
  with pytest.raises(UserError, match="merges.txt is damaged"):
    Vocabulary.load(tmp_path)
  (tmp_path / "merges.txt").write_text("#version: 0.2\n")
  with pytest.raises(UserError, match="not a map"):
    Vocabulary.load(tmp_path)


def test_long_white_space_takes_no_time_in_training(tmp_path):
  texts = [kind * (2**17 // len(kind)) for kind in (" ", "\n", "\t ")]
  start = time.process_time()
  Vocabulary.train([*tiny_text.documents(30), *texts], 300, tmp_path)
  assert time.process_time() - start < 10  # 40 with the square of the length
