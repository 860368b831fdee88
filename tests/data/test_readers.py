# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""The user's files: what is read and skipped, and errors of one line for the rest."""

import gzip
import json
import logging
import subprocess
import sys

import pytest
import zstandard

from elmer_jax.core.errors import UserError
from elmer_jax.data.readers import documents_and_pairs, text_files
from elmer_jax.data.readers.documents_and_pairs import read_documents, read_pairs
from elmer_jax.data.readers.file_format import ReadOptions
from elmer_jax.data.readers.text_files import expand_files


def jsonl(*rows) -> bytes:
  return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def write(path, content):
  data = content.encode() if isinstance(content, str) else content
  if path.suffix == ".gz":
    data = gzip.compress(data)
  elif path.suffix == ".zst":
    data = zstandard.compress(data)
  path.write_bytes(data)
  return path


@pytest.fixture
def warnings():
  """The list of the warnings logged so far."""
  messages = []
  handler = logging.Handler(logging.WARNING)
  handler.emit = lambda record: messages.append(record.getMessage())
  logging.getLogger("absl").addHandler(handler)
  yield messages
  logging.getLogger("absl").removeHandler(handler)


def test_patterns_match_files_in_order_without_repetition(tmp_path):
  for name in ("b.txt", "a.txt", "c.md", "deep/er/d.txt", "odd[1].txt"):
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    write(tmp_path / name, "text")

  def names(patterns):
    found = expand_files(patterns.replace("@", str(tmp_path)))
    return [str(path.relative_to(tmp_path)) for path in found]

  assert names("@/b.txt, @/*.txt,") == ["a.txt", "b.txt", "odd[1].txt"]
  assert names("@/**/d.txt,@/c.md") == ["c.md", "deep/er/d.txt"]
  assert names("@/odd[1].txt") == ["odd[1].txt"]


@pytest.mark.parametrize(
  ("patterns", "message"),
  [
    (" , ", "no files given"),
    ("@/none.txt", "none.txt: this file is missing"),
    ("@/*.none", "pattern matches no file"),
    ("@/a.txt,@", "is a folder"),
    ("@/empty.txt", "empty.txt is empty"),
    ("@/a.bin", "a.bin is not UTF-8 text"),
  ],
)
def test_patterns_without_usable_files_raise(tmp_path, patterns, message):
  write(tmp_path / "a.txt", "text")
  write(tmp_path / "empty.txt", "")
  write(tmp_path / "a.bin", bytes(range(256)))
  with pytest.raises(UserError, match=message):
    expand_files(patterns.replace("@", str(tmp_path)))


@pytest.mark.parametrize("suffix", ["", ".gz", ".zst"])
def test_documents_of_text_and_json_lines(tmp_path, suffix):
  lines = write(tmp_path / f"a.txt{suffix}", "one é\r\n  two \n\tthree\n\n \n")
  blocks = write(tmp_path / f"b.txt{suffix}", "\ufeffone\ntwo\n \t\n\n\nthree\nfour\n")
  rows = write(
    tmp_path / f"c.jsonl{suffix}",
    jsonl({"text": "é\n\nx"}, {"text": " "}, {"text": "y", "id": 1}) + b"\n",
  )
  assert list(read_documents([lines])) == ["one é", "two", "three"]
  assert list(read_documents([blocks])) == ["one\ntwo", "three\nfour"]
  assert list(read_documents([rows])) == ["é\n\nx", "y"]
  assert list(read_documents([rows, lines]))[1:3] == ["y", "one é"]


def test_other_fields_can_hold_the_text(tmp_path):
  path = write(tmp_path / "a.jsonl", jsonl({"text": "no", "body": "yes"}))
  assert list(read_documents([path], ReadOptions(text_field="body"))) == ["yes"]


def test_several_compressed_frames_are_read_as_one_file(tmp_path):
  skippable = b"\x50\x2a\x4d\x18\x04\x00\x00\x00skip"
  frames = zstandard.compress(b"one\nt") + skippable + zstandard.compress(b"wo\n")
  (tmp_path / "a.txt.zst").write_bytes(frames)
  (tmp_path / "a.txt.gz").write_bytes(gzip.compress(b"one\nt") + gzip.compress(b"wo"))
  for name in ("a.txt.zst", "a.txt.gz"):
    assert list(read_documents([tmp_path / name])) == ["one", "two"]


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_truncated_files_raise(tmp_path, suffix):
  text = "\n".join(str(i * 7919 % 10007) for i in range(200_000))
  path = write(tmp_path / f"a.txt{suffix}", text)
  whole = path.read_bytes()
  for length in (len(whole) - 1, len(whole) // 2, 8):
    path.write_bytes(whole[:length])
    with pytest.raises(UserError, match=rf"a.txt{suffix} is cut short"):
      list(read_documents([path]))


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_damaged_files_raise(tmp_path, suffix):
  path = tmp_path / f"a.txt{suffix}"
  path.write_bytes(b"plain text under a wrong name")
  with pytest.raises(UserError, match="damaged"):
    list(read_documents([path]))


@pytest.mark.parametrize(
  ("name", "content", "message"),
  [
    ("a.txt", b"", "a.txt is empty"),
    ("a.txt", b" \n\n\t\n", "a.txt holds no text"),
    ("a.txt.gz", b"", "a.txt.gz is empty"),
    ("a.txt", b"PK\x03\x04\x00\x00binary", "not UTF-8 text"),
    ("a.txt", "Привет, мир".encode("cp1251") * 9, "not UTF-8 text"),
    ("a.jsonl", jsonl({"text": "x"}) + b"{oops\n", "a.jsonl, line 2: not JSON"),
    ("a.jsonl", jsonl(["text"]), "line 1: not a JSON object"),
    ("a.jsonl", jsonl({"text": 1}), "line 1: field 'text' is not a string"),
    (
      "a.jsonl",
      jsonl({"text": "x"}) + b"\n" + jsonl({"body": "x"}),
      r"a.jsonl, line 3: no field 'text' \(its fields: 'body'\)",
    ),
  ],
)
def test_malformed_files_raise_with_file_and_line(tmp_path, name, content, message):
  with pytest.raises(UserError, match=message) as caught:
    list(read_documents([write(tmp_path / name, content)]))
  assert str(tmp_path) in str(caught.value)
  assert "\n" not in str(caught.value)


def test_missing_files_raise(tmp_path):
  with pytest.raises(UserError, match="a.txt is missing"):
    list(read_documents([tmp_path / "a.txt"]))


def test_bytes_that_are_not_utf8_are_replaced_with_one_warning(tmp_path, warnings):
  latin = write(tmp_path / "a.txt", "caf\xe9 na\xefve\nplain\n".encode("latin-1"))
  escape = write(tmp_path / "b.jsonl", b'{"text": "lone \\ud83d, pair \\ud83d\\ude00"}')
  good = write(tmp_path / "c.txt", "café 😀\n")
  documents = list(read_documents([latin, escape, good]))
  assert documents == [
    "caf\ufffd na\ufffdve",
    "plain",
    "lone \ufffd, pair 😀",
    "café 😀",
  ]
  (warning,) = warnings
  assert "3 bytes in 2 texts of 2 files," in warning and "a.txt" in warning
  list(read_documents([good]))
  assert len(warnings) == 1


def test_empty_documents_are_skipped_with_one_warning(tmp_path, warnings):
  rows = jsonl({"text": ""}, {"text": "a"}, {"text": " \n"}, {"text": "b"})
  paths = [write(tmp_path / name, rows) for name in ("a.jsonl", "b.jsonl.zst")]
  for _ in range(2):
    assert list(read_documents(paths)) == ["a", "b"] * 2
  assert warnings == ["empty and skipped: 4 documents"]


def test_long_lines_and_blocks_are_divided(tmp_path, monkeypatch):
  monkeypatch.setattr(documents_and_pairs, "DOCUMENT_CHARACTERS", 100)
  line = write(tmp_path / "line.txt", "é" * 950 + "\nshort\n")
  documents = list(read_documents([line]))
  assert max(map(len, documents)) <= 100
  assert "".join(documents[:-1]) == "é" * 950 and documents[-1] == "short"
  block = write(tmp_path / "block.txt", "a\n\n" + "word and word\n" * 50)
  documents = list(read_documents([block]))
  assert max(map(len, documents)) <= 100
  assert "\n".join(documents[1:]) == "\n".join(["word and word"] * 50)


def test_long_json_documents_are_divided_between_words(tmp_path, monkeypatch):
  monkeypatch.setattr(documents_and_pairs, "DOCUMENT_CHARACTERS", 100)
  words, solid = "word and\nword " * 50, "x" * 250
  path = write(tmp_path / "a.jsonl", jsonl({"text": words}, {"text": solid}))
  *parts, x1, x2, x3 = read_documents([path])
  assert max(map(len, parts)) <= 100
  assert " ".join(parts).split() == words.split()
  assert [len(x1), len(x2), len(x3)] == [100, 100, 50]


@pytest.mark.parametrize("name", ["a.jsonl", "a.tsv"])
def test_lines_that_do_not_fit_memory_raise(tmp_path, monkeypatch, name):
  monkeypatch.setattr(text_files, "LINE_CHARACTERS", 200)
  fits = json.dumps({"source": "s", "target": "t" * 160})
  content = fits + "\n" + fits[:-2] + "t" * 30 + '"}\n'
  if name.endswith("tsv"):
    content = "s\t" + "t" * 197 + "\n" + "s\t" + "t" * 300 + "\n"
  path = write(tmp_path / name, content)
  pairs = read_pairs([path])
  assert next(pairs)[0] == "s"
  with pytest.raises(UserError, match=f"{name}, line 2: longer than 200 characters"):
    next(pairs)


_READ = """
import re, sys
from elmer_jax.data.readers.documents_and_pairs import read_documents
total = sum(len(text.split()) for text in read_documents(sys.argv[1:]))
# ru_maxrss would include the parent process before the fork.
print(total, re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1])
"""


@pytest.mark.parametrize("name", ["a.txt", "a.jsonl", "a.jsonl.zst"])
def test_a_line_of_a_hundred_megabytes_is_read_in_bounded_memory(tmp_path, name):
  text = "seven77 " * 12_500_000  # one line of 100 MB
  path = write(tmp_path / name, jsonl({"text": text}) if "json" in name else text)
  command = [sys.executable, "-c", _READ, str(path)]
  done = subprocess.run(command, capture_output=True, text=True, check=True)
  words, kilobytes = map(int, done.stdout.split())
  assert abs(words - 12_500_000) <= ("json" not in name) * 10  # cut words count twice
  assert kilobytes < 800_000


def test_files_are_streamed(tmp_path):
  rows = [json.dumps({"text": "x" * 1000})] * 3000 + ["{oops"]
  path = write(tmp_path / "a.jsonl.zst", "\n".join(rows))
  documents = read_documents([path])
  assert next(documents) == "x" * 1000
  with pytest.raises(UserError, match="line 3001"):
    list(documents)


@pytest.mark.parametrize("suffix", ["", ".gz", ".zst"])
def test_pairs_of_json_lines_and_columns(tmp_path, suffix):
  rows = write(
    tmp_path / f"a.jsonl{suffix}", jsonl({"target": "t ", "id": 1, "source": "s\ns"})
  )
  columns = write(tmp_path / f"b.tsv{suffix}", "source\ttarget\nq é\tr\r\n\nu\tv")
  expected = [("s\ns", "t"), ("q é", "r"), ("u", "v")]
  assert list(read_pairs([rows, columns])) == expected


@pytest.mark.parametrize(
  ("name", "content", "message"),
  [
    ("a.jsonl", jsonl({"source": "s"}), "a.jsonl, line 1: no field 'target'"),
    ("a.jsonl", jsonl({"source": " ", "target": "t"}), "line 1: the source is empty"),
    ("a.tsv", "s\tt\ns\t \n", "a.tsv, line 2: the target is empty"),
    ("a.tsv", "s\tt\nst\n", "line 2: 1 columns"),
    ("a.tsv", "s\tt\tu\n", "no column source, target; its columns are s, t, u"),
    ("a.tsv", "source\ttarget\n", "a.tsv holds no pair"),
    ("a.txt", "some words\n", "a.txt holds no pairs: they are read from JSONL"),
  ],
)
def test_malformed_pairs_raise_with_file_and_line(tmp_path, name, content, message):
  with pytest.raises(UserError, match=message):
    list(read_pairs([write(tmp_path / name, content)]))
