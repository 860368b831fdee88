# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Plans as text, and as what JSON can hold."""

from typing import NamedTuple

from elmer_jax.planning.step_costs import Account

_GIB, _MIB = 2**30, 2**20
_WIDTH = 34


class Row(NamedTuple):
  """One step that was tried."""

  topology: str  # "v4:4x4x4", "2*v5e:16x16"
  chips: int
  chip: str  # "TPU v4"
  mesh: dict[str, int]
  batch_size: int  # examples an update
  accumulation: int
  tokens: int  # source and target positions an update
  account: Account | None  # None: it doesn't fit, or can't be laid out so
  reason: str  # why not, in a line

  @property
  def fits(self) -> bool:
    return self.account is not None and self.account.fits


def as_json(row: Row) -> dict:
  """Returns a row as a dict; bytes, seconds, and FLOPs of a whole step."""
  fields = row._asdict() | {"fits": row.fits}
  account = fields.pop("account")
  if account is None:
    return fields
  return fields | {
    "bytes_per_chip": account.bytes | {"all": account.total_bytes},
    "memory_per_chip": account.memory,
    "collective_bytes_per_chip": account.sent | {"all": sum(account.sent.values())},
    "collective_bytes_per_chip_across_slices": account.sent_across_slices,
    "flops_per_step": account.flops,
    "bound_seconds": account.bounds | {"step": account.bound},
    "compile_seconds": account.seconds,
    "compile_cpu_seconds": account.cpu_seconds,
  }


def page(row: Row) -> str:
  """Returns all that is known of one step, as text."""
  lines = [_heading(row), f"{'fits' if row.fits else row.reason}"]
  account = row.account
  if account is None:
    return "\n".join(lines)
  lines += ["", f"{'memory of a chip':{_WIDTH}}{'GiB':>10}"]
  lines += [_line(kind, size / _GIB) for kind, size in account.bytes.items()]
  lines += [_line("all", account.total_bytes / _GIB)]
  lines += [_line(f"{row.chip} has", account.memory / _GIB)]
  lines += ["", f"{'sent by a chip in a step':{_WIDTH}}{'MiB':>10}"]
  lines += [_line(kind, size / _MIB) for kind, size in account.sent.items()]
  lines += [_line("all", sum(account.sent.values()) / _MIB)]
  if account.sent_across_slices:
    lines += [_line("of these across slices", account.sent_across_slices / _MIB)]
  teraflop = account.flops / row.chips / 1e12
  lines += ["", f"{'a step takes at least':{_WIDTH}}{'ms':>10}"]
  lines += [
    _line(name, seconds * 1e3) + note
    for (name, seconds), note in zip(
      account.bounds.items(),
      (
        f"   {teraflop:.2f} TFLOP a chip at its peak",
        "   state and temporaries written and read once",
        "   all links of a chip busy, the network between slices left out",
      ),
      strict=True,
    )
  ]
  best = row.tokens / row.chips / account.bound
  lines += [
    "",
    f"A bound, not a prediction: at most {best:,.0f} tokens a second and chip.",
    f"Compiled in {account.seconds:.0f} s ({account.cpu_seconds:.0f} CPU-seconds).",
  ]
  return "\n".join(lines)


def sweep(rows: list[Row]) -> str:
  """Returns one line for each of several steps, as a Markdown table."""
  head = (
    "| topology | chips | mesh | batch | parameters | optimizer | temporaries "
    "| all, GiB | sent, MiB | bound, ms | compiled, CPU-s |"
  )
  lines = [head, "|---" * (head.count("|") - 1) + "|"]
  for row in rows:
    start = (
      f"| {row.topology} | {row.chips} | {_mesh(row.mesh)} | {row.batch_size:,}"
      f" ({row.accumulation}) |"
    )
    if row.account is None:
      lines.append(f"{start} {row.reason} |")
      continue
    account = row.account
    sizes = [account.bytes[k] for k in ("parameters", "optimizer", "temporaries")]
    sizes = " | ".join(f"{size / _GIB:.2f}" for size in [*sizes, account.total_bytes])
    sent = sum(account.sent.values()) / _MIB
    fits = "" if account.fits else " (too much)"
    lines.append(
      f"{start} {sizes}{fits} of {account.memory / _GIB:.0f} | {sent:,.0f} | "
      f"{account.bound * 1e3:.0f} | {account.cpu_seconds:.0f} |"
    )
  return "\n".join(lines)


def _heading(row: Row) -> str:
  parts = f" in {row.accumulation} parts" if row.accumulation > 1 else ""
  return (
    f"{row.topology}, {row.chips} chips, mesh {_mesh(row.mesh)}; {row.batch_size:,} "
    f"examples an update{parts}, {row.tokens:,} tokens"
  )


def _mesh(sizes: dict[str, int]) -> str:
  return "x".join(str(size) for size in sizes.values())


def _line(name: str, value: float) -> str:
  return f"  {name:{_WIDTH - 2}}{value:>10,.2f}"
