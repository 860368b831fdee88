# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""The user's files are recognised by content and name; what looks wrong is refused."""

import gzip
import json

import pyarrow
import pytest
from pyarrow import parquet

from elmer_jax.core.errors import UserError
from elmer_jax.data.readers import file_format, table_rows
from elmer_jax.data.readers.documents_and_pairs import read_documents, read_pairs
from elmer_jax.data.readers.file_format import ReadOptions
from elmer_jax.data.readers.text_files import expand_files

PAIRS = [("a, b\nc", "one"), ("d", "two; 2")]
JSONL = "".join(json.dumps({"source": s, "target": t}) + "\n" for s, t in PAIRS)
QUOTED = 'ID{0}Source{0}target\n1{0}"a, b\nc"{0}one\n2{0}d{0}"two; 2"\n'


def write(path, content: str, encoding: str = "utf-8"):
  data = content.encode(encoding)
  path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
  return path


@pytest.mark.parametrize(
  ("name", "content"),
  [
    ("a.txt", JSONL),
    ("a.gz", JSONL),
    ("a", "\ufeff" + JSONL),
    ("a.json", json.dumps([{"source": s, "target": t} for s, t in PAIRS], indent=1)),
    ("a.csv", QUOTED.format(",")),
    ("a.txt", QUOTED.format(",")),
    ("a.csv.gz", QUOTED.format(";")),
  ],
)
def test_pairs_of_any_format_are_the_same(tmp_path, name, content):
  assert list(read_pairs([write(tmp_path / name, content)])) == PAIRS


def test_columns_of_tsv_are_found_by_name(tmp_path):
  text = "target\tid\tsource\nthe answer\t7\tthe question\n"
  for name in ("a.tsv", "a.txt"):
    assert list(read_pairs([write(tmp_path / name, text)])) == [
      ("the question", "the answer")
    ]


def test_fields_and_columns_have_the_names_that_are_given(tmp_path):
  options = ReadOptions(source_field="question", target_field="answer")
  rows = write(tmp_path / "a.jsonl", '{"question": "q", "answer": "a"}\n')
  columns = write(tmp_path / "b.tsv", "question\tanswer\nq\ta\n")
  assert list(read_pairs([rows, columns], options)) == [("q", "a")] * 2
  without = write(tmp_path / "c.tsv", "q\ta\n")
  with pytest.raises(UserError, match="c.tsv: no column question, answer; its columns"):
    list(read_pairs([without], options))


def test_parquet_has_documents_and_several_references(tmp_path):
  table = {"source": ["a", "b"], "target": [["x", "y"], ["z"]], "text": ["t\nu", "v"]}
  path = tmp_path / "a.parquet"
  parquet.write_table(pyarrow.table(table), path)
  assert expand_files(str(path)) == [path]
  assert list(read_pairs([path])) == [("a", "x"), ("a", "y"), ("b", "z")]
  assert list(read_documents([path])) == ["t\nu", "v"]
  with pytest.raises(UserError, match="no column body; its columns are source, target"):
    list(read_documents([path], ReadOptions(text_field="body")))
  path.write_bytes(path.read_bytes()[:40])
  with pytest.raises(UserError, match=r"a.parquet is damaged or not Parquet"):
    list(read_pairs([path]))


def test_a_list_of_targets_gives_a_pair_for_each(tmp_path):
  path = write(tmp_path / "a.jsonl", '{"source": "a", "target": ["x", "y"]}\n')
  assert list(read_pairs([path])) == [("a", "x"), ("a", "y")]
  for wrong in (
    '{"source": ["a", "b"], "target": "x"}',
    '{"source": "a", "target": []}',
  ):
    with pytest.raises(UserError, match="line 1: field '.*' is not a string"):
      list(read_pairs([write(path, wrong)]))


def test_json_lines_are_documents_whatever_the_name(tmp_path):
  path = write(tmp_path / "a.txt", '{"text": "one"}\n{"text": "two"}\n')
  assert list(read_documents([path])) == ["one", "two"]
  braces = write(tmp_path / "b.txt", "{ not an object }\n\n{}\n")
  assert list(read_documents([braces])) == ["{ not an object }", "{}"]


@pytest.mark.parametrize(
  ("name", "content", "message"),
  [
    ("a.csv", "id,body\n1,b\n", "a.csv: no column text; its columns are id, body"),
    ("a.jsonl", '{"body": "b"}\n', r"line 1: no field 'text' \(its fields: 'body'\)"),
  ],
)
def test_documents_without_their_field_are_refused(tmp_path, name, content, message):
  with pytest.raises(UserError, match=message + ".*data.text_field name others"):
    list(read_documents([write(tmp_path / name, content)]))


def test_csv_that_breaks_off_in_a_quote_is_an_error(tmp_path):
  path = write(tmp_path / "a.csv", 'source,target\na,b\nc,"d\n')
  with pytest.raises(UserError, match="a.csv, line 3: not CSV"):
    list(read_pairs([path]))


def test_a_first_line_that_looks_like_names_is_a_warning(tmp_path, caplog):
  table_rows._warn_once.cache_clear()
  names = write(tmp_path / "a.tsv", "question\tanswer\nwhat is it\tno one knows\n")
  data = write(tmp_path / "b.tsv", "what is it\tno one knows\n")
  for path in (names, data):
    list(read_pairs([path]))
  [warning] = caplog.messages
  assert "a.tsv, line 1: question and answer are taken for a pair" in warning


def test_files_may_be_in_utf_16_and_in_an_encoding_that_is_named(tmp_path):
  paths = [
    write(tmp_path / "a.txt", "Zürich\r\n"),
    write(tmp_path / "b.txt", "Zürich\n", "utf-8-sig"),
    write(tmp_path / "c.txt", "Zürich\r\n", "utf-16"),
    write(tmp_path / "d.txt", "Zürich\n", "latin-1"),
  ]
  options = ReadOptions(encoding="latin-1")
  assert list(read_documents(paths, options)) == ["Zürich"] * 4
  assert list(read_documents(paths)) == [*["Zürich"] * 3, "Z\ufffdrich"]
  with pytest.raises(UserError, match="data.encoding='latin-0' is unknown"):
    expand_files(str(paths[0]), "latin-0")


def test_what_was_recognised_is_logged_once(tmp_path, caplog):
  file_format._log_once.cache_clear()
  paths = [write(tmp_path / name, JSONL) for name in ("a.jsonl", "b.txt")]
  paths.append(write(tmp_path / "c.csv", QUOTED.format(","), "utf-16"))
  with caplog.at_level("INFO", logger="absl"):
    for _ in range(2):
      file_format.log_formats(paths, "pairs", ReadOptions())
  assert caplog.messages == [
    "reading 2 files (a.jsonl, …) as JSONL in UTF-8; 1 file (c.csv) as CSV in UTF-16"
  ]
