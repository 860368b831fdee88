# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Docstrings as data: extraction, splits by module, and summary pairs."""

import collections
import json
import pathlib
import shutil
import textwrap

import pytest

from elmer_jax.core.errors import UserError
from elmer_jax.data.datasets import pydocs
from elmer_jax.data.datasets.docstring_reader import read_docstrings

SOURCE = textwrap.dedent(
  '''
  """What this module is for.

  It holds a class and some functions, each with a text.
  """

  import missing_package_that_nobody_imports

  class Tree(Base[int], other.Mixin):
    """A tree of integers, for the test.

    Its nodes are kept in the order of their values.
    """

    def insert(self, value: int, *rest, key=None, **options) -> None:
      """Insert a value and keep the order of the nodes.

      Equal values stand beside each other, in the order of their arrival.
      """

    @classmethod
    async def of(cls, values, /):
      """Make a tree of values, later."""

  if True:
    try:
      def nested():
        def inner(self):
          """Inner functions have texts too."""
    except ImportError:
      match 1:
        case _:
          def fallback():
            """What stands in for the nested one."""

  def short():
    """Too short."""

  def table():
    """1 2 3 | 4 5 6 | 7 8 9 | one two three | 10 11 12 | 13 14 15 16"""

  def german():
    """Größe, Länge, Höhe, Übergröße, Äußeres: überall ähnlich lästige Größen."""

  def many(a, b, c, d, e, f, g, h, i, j, k, l, m, n):
    """Has more arguments than anyone reads."""
  '''
)


def write_packages(root: pathlib.Path, count: int = 40) -> pathlib.Path:
  for i in range(count):
    package = root / f"package{i}"
    package.mkdir(parents=True)
    for module in ("__init__", "tools"):
      (package / f"{module}.py").write_text(
        f'"""Module number {i} of {module} things."""\n'
        f"def measure_{i}(length):\n"
        f'  """Return measure {i} of the given length, for {module}.\n\n'
        f"  The measure number {i} is taken along the axis of the {module} and\n"
        f'  rounded to the nearest integer.\n  """\n'
        "def shared():\n"
        '  """This text stands\n  in every module."""\n'
      )
  return root


def test_docstrings_of_modules_classes_and_functions():
  found = {d.name: d for d in read_docstrings("some.module", SOURCE.encode())}
  assert {d.module for d in found.values()} == {"some.module"}
  assert {name: d.signature for name, d in found.items()} == {
    "": "module some.module",
    "Tree": "class Tree(Base, other.Mixin)",
    "Tree.insert": "def insert(value, *rest, key, **options)",
    "Tree.of": "async def of(values)",
    "nested.inner": "def inner(self)",
    "fallback": "def fallback()",
    "many": "def many(a, b, c, d, e, f, g, h, i, j, k, l, ...)",
  }
  assert list(found)[:4] == ["", "Tree", "Tree.insert", "Tree.of"]
  assert found["Tree"].text == (
    "A tree of integers, for the test.\n\n"
    "Its nodes are kept in the order of their values."
  )


@pytest.mark.parametrize(
  "source",
  [
    b'"""Not Python, sadly enough."""\nprint "x"',
    b'"""A null byte is here."""\n\0',
    b'"""\xff not UTF-8 at all."""',
    b"x = 1",
    b'"""Large tables are skipped."""\n' + b"# table\n" * 2**18,
    b'"""Nested far too deeply."""\nx = ' + b"(" * 5000 + b")" * 5000,
  ],
)
def test_files_that_cannot_be_parsed_have_no_docstrings(source):
  assert read_docstrings("module", source) == []


def test_long_chains_do_not_exhaust_the_stack():
  chain = "if x == 0:\n  pass\n" + "".join(
    f"elif x == {i}:\n  pass\n" for i in range(1, 400)
  )
  source = chain + 'else:\n  def last():\n    """The end of a long chain."""\n'
  assert [d.name for d in read_docstrings("module", source.encode())] == ["last"]


def test_lone_surrogates_are_replaced():
  (docstring,) = read_docstrings("m", rb'"""Some text with \ud800 inside of it."""')
  assert docstring.text == "Some text with ? inside of it."


def test_every_module_is_in_one_split(tmp_path):
  roots = [write_packages(tmp_path)]
  modules = {
    split: {d.module for d in pydocs.docstrings(split, roots)}
    for split in pydocs.SPLITS
  }
  assert sum(map(len, modules.values())) == len(set().union(*modules.values())) == 80
  everything = [d for split in pydocs.SPLITS for d in pydocs.docstrings(split, roots)]
  assert collections.Counter(d.name for d in everything)["shared"] == 1
  (shared,) = (d for d in everything if d.name == "shared")
  assert shared.module == "package0"
  with pytest.raises(ValueError, match="no split"):
    next(pydocs.documents("dev", roots))


def test_shares_of_the_splits():
  splits = collections.Counter(pydocs.split_of(f"package.m{i}") for i in range(20_000))
  assert 0.94 < splits["train"] / 20_000 < 0.96
  assert 0.017 < splits["validation"] / 20_000 < 0.023
  assert 0.027 < splits["test"] / 20_000 < 0.033


def test_a_document_is_a_module(tmp_path):
  roots = [write_packages(tmp_path, 1)]
  split = pydocs.split_of("package0.tools")
  expected = (
    "module package0.tools\nModule number 0 of tools things.\n\n"
    "def measure_0(length)\nReturn measure 0 of the given length, for tools. "
    "The measure number 0 is taken along the axis of the tools and "
    "rounded to the nearest integer."
  )
  assert expected in list(pydocs.documents(split, roots))


def test_tests_caches_and_this_package_are_left_out(tmp_path):
  for path in (
    "good/code.py",
    "good/elmer_jax.py",
    "good/tests/helper.py",
    "good/__pycache__/code.py",
    "good/test_code.py",
    "good/code_test.py",
    "good-1.0.dist-info/x.py",
    "site-packages/x.py",
    "elmer_jax/train.py",
    "__editable___elmer_jax_finder.py",
    "single.py",
  ):
    (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / path).write_text(f'"""This is the text of {path}."""')
  (tmp_path / "broken.py").symlink_to(tmp_path / "nowhere.py")
  modules = {
    d.module for split in pydocs.SPLITS for d in pydocs.docstrings(split, [tmp_path])
  }
  assert modules == {"good.code", "good.elmer_jax", "single"}


def test_folders_without_sources_raise(tmp_path):
  with pytest.raises(UserError, match="no Python files"):
    list(pydocs.documents("train", [tmp_path]))


def test_the_number_of_reader_processes_does_not_matter(tmp_path, monkeypatch):
  one = [write_packages(tmp_path / "one")]
  monkeypatch.setattr(pydocs, "_num_cpus", lambda: 1)
  alone = list(pydocs.documents("train", one))
  two = [shutil.copytree(tmp_path / "one", tmp_path / "two")]
  monkeypatch.setattr(pydocs, "_num_cpus", lambda: 2)
  monkeypatch.setattr(pydocs, "_READER_BYTES", 0)
  assert list(pydocs.documents("train", two)) == alone
  assert len(alone) > 60


def pair_of(name: str, docstring: str) -> tuple[str, str] | None:
  signature = f"def {name}(a)"
  return pydocs._summary_pair(
    pydocs.Docstring("some.module", name, signature, docstring)
  )


REST = "It looks at each of the values once, from the first to the last."


def test_pairs_of_first_sentence_and_rest():
  assert pair_of("total", f"Return the sum of\nall values.\n\n{REST}") == (
    f"def total(a)\n{REST}",
    "Return the sum of all values.",
  )
  assert pair_of(
    "total", f"Sum up values, e.g. Fractions. {REST}\n\nArgs:\n  a: x"
  ) == (
    f"def total(a)\n{REST} Args: a: x",
    "Sum up values, e.g. Fractions.",
  )


@pytest.mark.parametrize(
  "docstring",
  [
    "Return the sum of all values.",
    "Return the sum of all values.\n\nArgs: a: values.",
    f"Sum up.\n\n{REST}",
    f"Return the {'very ' * 30}large sum.\n\n{REST}",
    f":param a: all of the values\n\n{REST}",
    f"Args: a: all of the values\n\n{REST}",
    f"Sum of values\n-------------\n\n{REST}",
    f"The total of a.\n\n{REST}",
    f"Return the sum of values.\n\n{REST} So: return the sum\nof values, quickly.",
  ],
)
def test_docstrings_without_a_pair(docstring):
  assert pair_of("total_of_a", docstring) is None


def test_a_target_occurs_once(tmp_path):
  for i in range(50):
    (tmp_path / f"m{i}.py").write_text(f'"""Return the same sum.\n\n{i}. {REST}"""')
  pairs = [
    pair for split in pydocs.SPLITS for pair in pydocs.summary_pairs(split, [tmp_path])
  ]
  assert pairs == [(f"module m0\n0. {REST}", "Return the same sum.")]


def test_the_standard_library_has_pairs(tmp_path):
  for package in (json, collections):
    folder = pathlib.Path(package.__file__).parent
    shutil.copytree(folder, tmp_path / folder.name)
  docstrings = [
    d for split in pydocs.SPLITS for d in pydocs.docstrings(split, [tmp_path])
  ]
  by_name = {(d.module, d.name): d for d in docstrings}
  encode = by_name["json.encoder", "JSONEncoder.encode"]
  assert encode.signature == "def encode(o)"
  assert encode.text.startswith("Return a JSON string representation")
  pairs = [
    p for split in pydocs.SPLITS for p in pydocs.summary_pairs(split, [tmp_path])
  ]
  assert len(pairs) >= 15
  for source, target in pairs:
    assert source.split(" ")[0] in ("module", "class", "def", "async")
    assert "\n" not in target and target.lower() not in source.lower()
