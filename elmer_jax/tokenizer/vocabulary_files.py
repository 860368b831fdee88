# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""`vocab.json` and `merges.txt`, as GPT-2 and BART have them: format and checks.

`vocab.json` maps tokens to ids, `merges.txt` has one merge a line, by priority. Tokens
are written in GPT-2's printable byte alphabet.
"""

import json
import pathlib
from collections.abc import Mapping, Sequence

from elmer_jax.core import json_files
from elmer_jax.core.atomic_files import write_whole
from elmer_jax.core.errors import UserError
from elmer_jax.core.json_files import shown
from elmer_jax.tokenizer.special_ids import MASK_TOKEN, SPECIAL_TOKENS

Merges = Sequence[tuple[str, str]]


def _byte_alphabet() -> list[str]:
  """Returns GPT-2's printable character for each byte value.

  Visible Latin-1 characters represent themselves. The other bytes, in order, are
  represented by the characters from U+0100: a space is "Ġ", a newline "Ċ".
  """
  visible = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
  hidden = [byte for byte in range(256) if byte not in visible]
  return [
    chr(byte if byte in visible else 0x100 + hidden.index(byte)) for byte in range(256)
  ]


BYTE_TO_CHARACTER = _byte_alphabet()
CHARACTER_TO_BYTE = {c: byte for byte, c in enumerate(BYTE_TO_CHARACTER)}


def read(folder: pathlib.Path) -> tuple[dict[str, int], list[tuple[str, str]]]:
  """Returns ids by token and the merges, unchecked.

  Raises:
    UserError: a file is missing or can't be parsed.
  """
  vocab_path, merges_path = folder / "vocab.json", folder / "merges.txt"
  ids = json_files.read_object(_existing(vocab_path))
  merges = []
  lines = json_files.read_text(_existing(merges_path)).split("\n")
  for number, line in enumerate(lines, start=1):
    if not line or (number == 1 and line.startswith("#version")):
      continue
    pair = tuple(line.split(" "))
    if len(pair) != 2 or not all(pair):
      raise UserError(
        f"{merges_path}, line {number} is damaged: expected two tokens, "
        f"found {shown(line)}"
      )
    merges.append(pair)
  return ids, merges


def write(folder: pathlib.Path, ids: Mapping[str, int], merges: Merges) -> None:
  """Writes both files, each atomically.

  Raises:
    UserError: the folder can't be created or written to.
  """
  write_whole(folder / "merges.txt", merges_text(merges))
  write_whole(folder / "vocab.json", vocab_text(ids))


def vocab_text(ids: Mapping[str, int]) -> str:
  """Returns the content of `vocab.json`, sorted by id."""
  by_id = dict(sorted(ids.items(), key=lambda item: item[1]))
  return json.dumps(by_id, ensure_ascii=False) + "\n"


def merges_text(merges: Merges) -> str:
  """Returns the content of `merges.txt`."""
  lines = ["#version: 0.2", *(f"{first} {second}" for first, second in merges)]
  return "\n".join(lines) + "\n"


def check(ids: object, merges: Merges, origin: str) -> None:
  """Checks that ids and merges are a byte-level BPE in BART's id order.

  Args:
    ids: ids by token.
    merges: pairs of tokens, by priority.
    origin: folder or other name of the vocabulary, for error messages.

  Raises:
    UserError: they are not.
  """
  if not isinstance(ids, dict) or not all(type(i) is int for i in ids.values()):
    raise UserError(f"{origin}: the vocabulary is damaged: not a map of tokens to ids")
  if sorted(ids.values()) != list(range(len(ids))):
    raise UserError(
      f"{origin}: the vocabulary is damaged: its {len(ids)} ids are not 0 to "
      f"{len(ids) - 1}, each once"
    )
  expected = {token: i for i, token in enumerate(SPECIAL_TOKENS)}
  expected[MASK_TOKEN] = len(ids) - 1
  for token, token_id in expected.items():
    if ids.get(token) != token_id:
      raise UserError(
        f"{origin}: the vocabulary is not in BART's order: {token} should have id "
        f"{token_id}, not {ids.get(token)}"
      )
  known = set(BYTE_TO_CHARACTER)
  for number, (first, second) in enumerate(merges, start=1):
    if first not in known or second not in known:
      raise UserError(
        f"{origin}: merge {number} is damaged: {shown(first)} or {shown(second)} is "
        "not made by an earlier merge"
      )
    if first + second in known:
      raise UserError(f"{origin}: merge {number} makes {shown(first + second)} again")
    known.add(first + second)
  missing = known - ids.keys()
  if missing:
    raise UserError(
      f"{origin}: vocab.json lacks {len(missing)} tokens that bytes or merges.txt "
      f"make, such as {shown(min(missing))}; are the files of two vocabularies mixed?"
    )


def _existing(path: pathlib.Path) -> pathlib.Path:
  if not path.exists():
    raise UserError(
      f"{path} is missing: a vocabulary is a folder with vocab.json and merges.txt"
    )
  return path
