# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""The offline data set: docstrings of the installed Python packages.

The docstrings of the standard library and of site-packages are English text that is
available wherever this package runs. They are read from the source files; nothing is
imported. A docstring that occurs several times is used once, in the first module by
name. The split of a module follows from a hash of its name, so the same installation
always gives the same data.

    for document in documents("train"):           # the docstrings of a module
    for source, target in summary_pairs("test"):  # the rest → the first sentence
"""

import concurrent.futures
import functools
import hashlib
import itertools
import json
import os
import pathlib
import re
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Sequence

from elmer_jax.core.errors import UserError
from elmer_jax.data.datasets import docstring_reader
from elmer_jax.data.datasets.docstring_reader import Docstring

SPLITS = ("train", "validation", "test")

# Shares of the modules. Of about 30,000 summary pairs some 900 are for testing.
_VALIDATION_SHARE = 0.02
_TEST_SHARE = 0.03

# Tests are not documentation; site-packages is a folder of the standard library, but a
# root of its own; this package's docstrings would change the data with the code.
_SKIPPED_FOLDERS = {"test", "tests", "site-packages", "dist-packages", "__pycache__"}
_OWN_PACKAGE = __name__.split(".")[0]

# Fewer bytes of source are read in this process, more by several processes.
_READER_BYTES = 2**22
_MAX_READERS = 8

TARGET_WORDS = (3, 30)
# Minimum length of the text to be summarized.
MIN_REST_WORDS = 8

Roots = Sequence[str | os.PathLike]


def documents(split: str, roots: Roots | None = None) -> Iterator[str]:
  """Yields the documents of a split: the docstrings of each module as one text.

  Each docstring follows its signature; blank lines separate them. The texts are long,
  so that the windows cut from them are full. Line breaks within a docstring are
  replaced by spaces: they carry no meaning, and an uncertain model would predict them
  because they are frequent.

  Args:
    split: one of SPLITS.
    roots: folders of packages; by default those of this interpreter.

  Raises:
    UserError: the folders contain no Python files.
  """
  by_module = itertools.groupby(docstrings(split, roots), lambda d: d.module)
  for _, members in by_module:
    yield "\n\n".join(f"{m.signature}\n{_as_one_line(m.text)}" for m in members)


def docstrings(split: str, roots: Roots | None = None) -> Iterator[Docstring]:
  """Yields the docstrings of a split, by module name and in source order.

  Args and errors as for `documents`.
  """
  _check_split(split)
  for docstring in _all_docstrings(_resolved(roots)):
    if split_of(docstring.module) == split:
      yield docstring


def summary_pairs(split: str, roots: Roots | None = None) -> Iterator[tuple[str, str]]:
  """Yields (source, target) pairs for one-sentence summarization.

  The target is the first sentence of a docstring, of TARGET_WORDS words; the source is
  the signature and, on the next line, the rest of the docstring. Skipped are docstrings
  with a rest of fewer than MIN_REST_WORDS words, targets that are markup or only repeat
  the name, and targets contained in their source. No target occurs twice, also not in
  different splits.

  Args and errors as for `documents`.
  """
  _check_split(split)
  for module, source, target in _all_pairs(_resolved(roots)):
    if split_of(module) == split:
      yield source, target


def split_of(module: str) -> str:
  """Returns the split of a module, determined by a hash of its name."""
  digest = hashlib.sha256(module.encode()).digest()
  share = int.from_bytes(digest[:8], "big") / 2**64
  if share < _TEST_SHARE:
    return "test"
  if share < _TEST_SHARE + _VALIDATION_SHARE:
    return "validation"
  return "train"


def _check_split(split: str) -> None:
  if split not in SPLITS:
    raise ValueError(f"no split {split!r}: there are {', '.join(SPLITS)}")


def _resolved(roots: Roots | None) -> tuple[str, ...]:
  if roots is None:
    paths = sysconfig.get_paths()
    roots = [paths[name] for name in ("stdlib", "purelib", "platlib")]
  return tuple(sorted({os.path.realpath(root) for root in roots}))


@functools.cache
def _all_docstrings(roots: tuple[str, ...]) -> list[Docstring]:
  """Returns all different docstrings, by module name and in source order."""
  files = sorted(itertools.chain.from_iterable(map(_source_files, roots)))
  if not files:
    raise UserError(f"no Python files with docstrings in {', '.join(roots)}")
  kept: dict[str, Docstring] = {}
  for docstring in _read_docstrings(files):
    kept.setdefault(_as_one_line(docstring.text), docstring)
  return list(kept.values())


def _source_files(root: str) -> Iterator[tuple[str, str]]:
  """Yields (module name, path) of the Python files in a folder, at any depth."""
  for folder, subfolders, names in os.walk(root):
    at_root = folder == root
    subfolders[:] = [
      name
      for name in subfolders
      if name.isidentifier()
      and name not in _SKIPPED_FOLDERS
      and not (at_root and name == _OWN_PACKAGE)
    ]
    parts = () if at_root else pathlib.Path(folder).relative_to(root).parts
    for name in names:
      stem, suffix = os.path.splitext(name)
      if suffix != ".py" or not stem.isidentifier() or _is_test(stem):
        continue
      path = os.path.join(folder, name)
      if os.path.isfile(path):  # not a broken link
        is_package = stem == "__init__" and parts
        yield ".".join(parts if is_package else (*parts, stem)), path


def _is_test(stem: str) -> bool:
  # An editable installation of this package puts such a file at the root.
  return stem.startswith(("test_", "__editable__")) or stem.endswith("_test")


def _read_docstrings(files: list[tuple[str, str]]) -> list[Docstring]:
  """Returns the docstrings of (module, path)s, in order, read by several processes."""
  readers = min(_MAX_READERS, _num_cpus())
  sizes = [os.path.getsize(path) for _, path in files]
  if readers == 1 or sum(sizes) < _READER_BYTES or not sys.executable:
    return docstring_reader.read_files(files)
  # Several batches per reader, because the time per byte differs between packages.
  batch_bytes = sum(sizes) / (4 * readers)
  ends = itertools.accumulate(sizes)
  numbered = zip((int(end // batch_bytes) for end in ends), files, strict=True)
  batches = [
    [file for _, file in members]
    for _, members in itertools.groupby(numbered, lambda item: item[0])
  ]
  with concurrent.futures.ThreadPoolExecutor(readers) as pool:
    return list(itertools.chain.from_iterable(pool.map(_read_batch, batches)))


def _read_batch(files: list[tuple[str, str]]) -> list[Docstring]:
  command = [sys.executable, "-I", "-S", docstring_reader.__file__]
  done = subprocess.run(
    command,
    input=json.dumps(files).encode(),
    stdout=subprocess.PIPE,
    check=True,
    start_new_session=True,  # Ctrl-C on the terminal is for this process alone
  )
  return [Docstring(*fields) for fields in json.loads(done.stdout)]


def _num_cpus() -> int:
  if hasattr(os, "sched_getaffinity"):
    return len(os.sched_getaffinity(0))
  return os.cpu_count() or 1


# A sentence ends at a period, question or exclamation mark and closing quotes or
# brackets, before white space and the start of another; not after these abbreviations.
_SENTENCE_END = re.compile(
  r"(?<=[.!?])(?<!\be\.g\.)(?<!\bi\.e\.)(?<!\bvs\.)(?<!\bcf\.)(?<!\bresp\.)"
  r"[\"')\]]*\s+(?=[A-Z`'\"(\[*:])"
)
_MARKUP = re.compile(
  r"^[^\w`'\"(\[]"  # lists, fields, directives
  r"|^(Args?|Arguments?|Parameters?|Returns?|Raises?|Yields?|Examples?|Usage|TODO)\s*:"
  r"|---|===|>>>|::|\.\. "
)


@functools.cache
def _all_pairs(roots: tuple[str, ...]) -> list[tuple[str, str, str]]:
  """Returns (module, source, target) of all docstrings that give a pair."""
  pairs = []
  seen = set()
  for docstring in _all_docstrings(roots):
    pair = _summary_pair(docstring)
    if pair and _normalize(pair[1]) not in seen:
      seen.add(_normalize(pair[1]))
      pairs.append((docstring.module, *pair))
  return pairs


def _summary_pair(docstring: Docstring) -> tuple[str, str] | None:
  first, _, others = docstring.text.partition("\n\n")
  first = _as_one_line(first)
  end = _SENTENCE_END.search(first)
  target = (first[: end.end()] if end else first).strip()
  continued = first[end.end() :] if end else ""
  rest = "\n\n".join(part for part in (continued, others.strip()) if part)
  fewest, most = TARGET_WORDS
  if not fewest <= len(target.split()) <= most or _MARKUP.search(target):
    return None
  if len(re.findall(r"[A-Za-z]{2,}", rest)) < MIN_REST_WORDS:
    return None
  source = f"{docstring.signature}\n{_as_one_line(rest)}"
  if _normalize(target) in _normalize(source) or _repeats_name(target, docstring):
    return None
  return source, target


def _as_one_line(text: str) -> str:
  return " ".join(text.split())


def _normalize(text: str) -> str:
  """Returns a text without case, line breaks and final period, for comparison."""
  return _as_one_line(text.lower()).rstrip(".")


def _repeats_name(target: str, docstring: Docstring) -> bool:
  """Returns whether the target only repeats the name, apart from articles."""
  name = (docstring.name or docstring.module).rpartition(".")[2]
  spelled = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name).replace("_", " ")
  words = set(re.findall(r"[a-z0-9]+", target.lower()))
  return words <= {*spelled.lower().split(), name.lower(), "a", "an", "the", "of"}
