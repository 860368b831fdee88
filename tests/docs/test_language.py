# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Documents and code use the field's terms, and files stay short."""

import re

import pytest
from document_blocks import DOCUMENTS, ROOT

SOURCES = sorted((ROOT / "elmer_jax").rglob("*.py"))

# Words that this project once used in a sense of its own; docs/style.md has the terms.
_WORDS = (
  *("said", "told", "anew", "heed", "behind", "slips", "spoilt"),
  *("so many", "roll call", "foreign source", "foreign sources", "lies whole"),
  *("say cut", "emptied", "want of memory"),
)
# (file, word): why it is the plain English word there.
_VERBS = "a list of irregular English verbs"
_DRAWN = "one drawing covers another"
ALLOWED = {
  ("elmer_jax/metrics/rouge_stemmer.py", "said"): _VERBS,
  ("elmer_jax/metrics/rouge_stemmer.py", "told"): _VERBS,
  ("elmer_jax/metrics/rouge_stemmer.py", "spoilt"): _VERBS,
  ("elmer_jax/metrics/rouge_stemmer.py", "emptied"): _VERBS,
  ("elmer_jax/parallel/rendezvous.py", "behind"): "behind address translation",
  ("elmer_jax/reports/html_page.py", "behind"): _DRAWN,
  ("elmer_jax/reports/plots.py", "behind"): _DRAWN,
}


def _uses(path, word: str) -> list[str]:
  name = str(path.relative_to(ROOT))
  if (name, word) in ALLOWED:
    return []
  pattern = re.compile(rf"\b{word.replace(' ', '[ _]')}\b", re.IGNORECASE)
  lines = path.read_text(encoding="utf-8").splitlines()
  return [
    f"{name}:{number}: {line.strip()}"
    for number, line in enumerate(lines, 1)
    if pattern.search(line)
  ]


@pytest.mark.parametrize("word", _WORDS)
def test_private_words_are_not_used(word):
  found = [use for path in (*DOCUMENTS, *SOURCES) for use in _uses(path, word)]
  assert not found, "\n".join(found)


def test_front_page_and_map_are_short():
  for name, longest in (("README.md", 160), ("WORKSPACE.md", 200)):
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    assert len(lines) <= longest, name


def test_source_files_are_short():
  long = [p for p in SOURCES if len(p.read_text(encoding="utf-8").splitlines()) > 400]
  assert not long


def test_front_page_shows_a_small_picture():
  [name] = re.findall(r"!\[[^\]]*\]\(([^)]+)\)", (ROOT / "README.md").read_text())
  assert (ROOT / name).stat().st_size < 100_000
