# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""The offline data set: documentation of the Python packages that are installed.

The docstrings of the standard library and of site-packages are English text that lies
on every machine on which this package runs. They are read from the source files;
nothing is imported. Equal docstrings count once, in the module that comes first by
name, and a module belongs to a split by a hash of its name: so no module stands on
both sides, and the same installation gives the same data in any order of files.

    for document in documents("train"):        # a module's docstrings
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

# Shares of the modules. About 30,000 summary pairs leave some 900 for the test.
_SHARE_OF_VALIDATION = 0.02
_SHARE_OF_TEST = 0.03

# Tests are no documentation; site-packages lies inside the standard library's folder;
# our own docstrings would change the data with the code.
_SKIPPED_FOLDERS = {"test", "tests", "site-packages", "dist-packages", "__pycache__"}
_OWN_PACKAGE = __name__.split(".")[0]

# Fewer bytes of source are read in this process, more by several readers.
_READER_BYTES = 2**22
_MAX_READERS = 8

TARGET_WORDS = (3, 30)
# A shorter rest can't be summarised.
REST_WORDS = 8

Roots = Sequence[str | os.PathLike]


def documents(split: str, roots: Roots | None = None) -> Iterator[str]:
  """The documents of a split: for each module its docstrings, as one text.

  Each docstring stands under its signature; a blank line separates them. Long texts,
  so that windows cut from them are filled. The line breaks within a docstring are
  spaces here: where a line is full says nothing about English, and a model that is
  unsure of a word would write line breaks for want of anything more frequent.

  Args:
    split: one of SPLITS.
    roots: folders of packages; this interpreter's when None.
  """
  by_module = itertools.groupby(docstrings(split, roots), lambda d: d.module)
  for _, members in by_module:
    yield "\n\n".join(f"{m.signature}\n{_on_one_line(m.text)}" for m in members)


def docstrings(split: str, roots: Roots | None = None) -> Iterator[Docstring]:
  """The docstrings of a split, by module name and, in a module, in source order.

  Args:
    split: one of SPLITS.
    roots: folders of packages; this interpreter's when None.

  Raises:
    UserError: the folders hold no Python files.
  """
  _check_split(split)
  for docstring in _all_docstrings(_resolved(roots)):
    if split_of(docstring.module) == split:
      yield docstring


def summary_pairs(split: str, roots: Roots | None = None) -> Iterator[tuple[str, str]]:
  """(source, target) pairs of one-sentence summarisation.

  The target is the first sentence of a docstring, of TARGET_WORDS words; the source is
  the signature and, on the line below it, the rest of the docstring. Left out are
  docstrings without a rest of REST_WORDS words, targets that are markup or only repeat
  the name, and targets that stand in their source. A target occurs once in all splits.

  Args:
    split: one of SPLITS.
    roots: folders of packages; this interpreter's when None.
  """
  _check_split(split)
  for module, source, target in _all_pairs(_resolved(roots)):
    if split_of(module) == split:
      yield source, target


def split_of(module: str) -> str:
  """The split of a module, by a hash of its name."""
  digest = hashlib.sha256(module.encode()).digest()
  share = int.from_bytes(digest[:8], "big") / 2**64
  if share < _SHARE_OF_TEST:
    return "test"
  if share < _SHARE_OF_TEST + _SHARE_OF_VALIDATION:
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
  """All different docstrings under the roots, by module name and source order."""
  files = sorted(itertools.chain.from_iterable(map(_source_files, roots)))
  if not files:
    raise UserError(f"no Python files with docstrings in {', '.join(roots)}")
  kept: dict[str, Docstring] = {}
  for docstring in _read(files):
    kept.setdefault(_on_one_line(docstring.text), docstring)
  return list(kept.values())


def _source_files(root: str) -> Iterator[tuple[str, str]]:
  """(module name, path) of the Python files under a folder."""
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
  # An editable installation of this package leaves a file of its own at the root.
  return stem.startswith(("test_", "__editable__")) or stem.endswith("_test")


def _read(files: list[tuple[str, str]]) -> list[Docstring]:
  """The docstrings of (module, path)s, in order, by several readers if it pays."""
  readers = min(_MAX_READERS, _processors())
  sizes = [os.path.getsize(path) for _, path in files]
  if readers == 1 or sum(sizes) < _READER_BYTES or not sys.executable:
    return docstring_reader.read_files(files)
  # Several batches a reader, as the time for a byte differs between packages.
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
    command, input=json.dumps(files).encode(), stdout=subprocess.PIPE, check=True
  )
  return [Docstring(*fields) for fields in json.loads(done.stdout)]


def _processors() -> int:
  if hasattr(os, "sched_getaffinity"):
    return len(os.sched_getaffinity(0))
  return os.cpu_count() or 1


# A sentence ends at a full stop and the like, closing quotes and brackets included,
# before white space and the start of another; not after these abbreviations.
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
  """(module, source, target) of all docstrings that make a pair."""
  pairs = []
  seen = set()
  for docstring in _all_docstrings(roots):
    pair = _summary_pair(docstring)
    if pair and _plain(pair[1]) not in seen:
      seen.add(_plain(pair[1]))
      pairs.append((docstring.module, *pair))
  return pairs


def _summary_pair(docstring: Docstring) -> tuple[str, str] | None:
  first, _, others = docstring.text.partition("\n\n")
  first = _on_one_line(first)
  end = _SENTENCE_END.search(first)
  target = (first[: end.end()] if end else first).strip()
  continued = first[end.end() :] if end else ""
  rest = "\n\n".join(part for part in (continued, others.strip()) if part)
  fewest, most = TARGET_WORDS
  if not fewest <= len(target.split()) <= most or _MARKUP.search(target):
    return None
  if len(re.findall(r"[A-Za-z]{2,}", rest)) < REST_WORDS:
    return None
  source = f"{docstring.signature}\n{_on_one_line(rest)}"
  if _plain(target) in _plain(source) or _repeats_name(target, docstring):
    return None
  return source, target


def _on_one_line(text: str) -> str:
  return " ".join(text.split())


def _plain(text: str) -> str:
  """A text for comparison: case, spacing and the final full stop don't count."""
  return _on_one_line(text.lower()).rstrip(".")


def _repeats_name(target: str, docstring: Docstring) -> bool:
  """Whether the target says no more than the name, apart from articles."""
  name = (docstring.name or docstring.module).rpartition(".")[2]
  spelled = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name).replace("_", " ")
  said = set(re.findall(r"[a-z0-9]+", target.lower()))
  return said <= {*spelled.lower().split(), name.lower(), "a", "an", "the", "of"}
