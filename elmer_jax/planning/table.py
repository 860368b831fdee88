# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Planned steps as text and as JSON."""

from typing import NamedTuple

from elmer_jax.planning.step_costs import StepCosts

_GIB, _MIB = 2**30, 2**20
_WIDTH = 34


class PlannedStep(NamedTuple):
  """A training step on a topology, with its costs if it fits."""

  topology: str  # "v4:4x4x4", "2*v5e:16x16"
  chips: int
  chip: str  # "TPU v4"
  mesh: dict[str, int]
  batch_size: int
  grad_accumulation_steps: int
  tokens: int  # source and target positions of a batch
  rows_per_process: dict[int, int]  # by process index
  costs: StepCosts | None  # None: it doesn't fit
  reason: str  # why not, in one line

  @property
  def fits(self) -> bool:
    return self.costs is not None and self.costs.fits


def as_json(step: PlannedStep) -> dict:
  """Returns a step as a dict; bytes, seconds, and FLOPs of a whole step."""
  fields = step._asdict() | {"fits": step.fits}
  costs = fields.pop("costs")
  if costs is None:
    return fields
  return fields | {
    "bytes_per_chip": costs.bytes | {"all": costs.total_bytes},
    "memory_per_chip": costs.memory,
    "collective_bytes_per_chip": costs.sent | {"all": sum(costs.sent.values())},
    "collective_bytes_per_chip_across_slices": costs.sent_across_slices,
    "flops_per_step": costs.flops,
    "bound_seconds": costs.bounds | {"step": costs.bound},
    "compile_seconds": costs.seconds,
    "compile_cpu_seconds": costs.cpu_seconds,
  }


def format_step(step: PlannedStep) -> str:
  """Returns all figures of one step."""
  lines = [_heading(step), f"{'fits' if step.fits else step.reason}"]
  costs = step.costs
  if costs is None:
    return "\n".join(lines)
  lines += ["", f"{'memory of a chip':{_WIDTH}}{'GiB':>10}"]
  lines += [_line(kind, size / _GIB) for kind, size in costs.bytes.items()]
  lines += [_line("all", costs.total_bytes / _GIB)]
  lines += [_line(f"{step.chip} has", costs.memory / _GIB)]
  lines += ["", f"{'sent by a chip in a step':{_WIDTH}}{'MiB':>10}"]
  lines += [_line(kind, size / _MIB) for kind, size in costs.sent.items()]
  lines += [_line("all", sum(costs.sent.values()) / _MIB)]
  if costs.sent_across_slices:
    lines += [_line("of these across slices", costs.sent_across_slices / _MIB)]
  teraflop = costs.flops / step.chips / 1e12
  notes = (
    f"   {teraflop:.2f} TFLOP a chip at its peak",
    "   state and temporaries written and read once",
    "   all links of a chip busy, without the network between slices",
  )
  lines += ["", f"{'a step takes at least':{_WIDTH}}{'ms':>10}"]
  lines += [
    _line(name, seconds * 1e3) + note
    for (name, seconds), note in zip(costs.bounds.items(), notes, strict=True)
  ]
  tokens_per_second = step.tokens / step.chips / costs.bound
  lines += [
    "",
    f"A bound, not a prediction: at most {tokens_per_second:,.0f} tokens a second and "
    "chip.",
    f"Compiled in {costs.seconds:.0f} s ({costs.cpu_seconds:.0f} CPU-seconds).",
  ]
  return "\n".join(lines)


def format_sweep(steps: list[PlannedStep]) -> str:
  """Returns several steps as a Markdown table, one row each."""
  head = (
    "| topology | chips | mesh | batch | parameters | optimizer | temporaries "
    "| all, GiB | sent, MiB | bound, ms | compiled, CPU-s |"
  )
  lines = [head, "|---" * (head.count("|") - 1) + "|"]
  for step in steps:
    start = (
      f"| {step.topology} | {step.chips} | {_mesh(step.mesh)} | {step.batch_size:,}"
      f" ({step.grad_accumulation_steps}) |"
    )
    if step.costs is None:
      lines.append(f"{start} {step.reason} |")
      continue
    costs = step.costs
    sizes = [costs.bytes[k] for k in ("parameters", "optimizer", "temporaries")]
    sizes = " | ".join(f"{size / _GIB:.2f}" for size in [*sizes, costs.total_bytes])
    sent = sum(costs.sent.values()) / _MIB
    fits = "" if costs.fits else " (too much)"
    lines.append(
      f"{start} {sizes}{fits} of {costs.memory / _GIB:.0f} | {sent:,.0f} | "
      f"{costs.bound * 1e3:.0f} | {costs.cpu_seconds:.0f} |"
    )
  return "\n".join(lines)


def _heading(step: PlannedStep) -> str:
  count = step.grad_accumulation_steps
  micro_batches = f" in {count} micro-batches" if count > 1 else ""
  rows = sorted(set(step.rows_per_process.values()))
  return (
    f"{step.topology}, {step.chips} chips, mesh {_mesh(step.mesh)}; "
    f"{step.batch_size:,} examples a step{micro_batches}, {step.tokens:,} tokens; "
    f"each of {len(step.rows_per_process)} processes reads "
    f"{' or '.join(map(str, rows))} examples"
  )


def _mesh(sizes: dict[str, int]) -> str:
  return "x".join(str(size) for size in sizes.values())


def _line(name: str, value: float) -> str:
  return f"  {name:{_WIDTH - 2}}{value:>10,.2f}"
