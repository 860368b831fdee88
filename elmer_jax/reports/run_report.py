# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""The report of a pre-training and, if there is one, of its fine-tuning.

`index.html` is for people; `summary.json` has the figures:

    {"pretrain": {"initial_validation_loss": 8.3, "final_validation_loss": 5.6,
                  "unigram_loss": 6.7, "shuffled_source_loss": 7.0,
                  "tokens_per_second": 5200.0, "steps": 900, ...,
                  "loss_by_layer": [...], "accuracy_by_layer": [...]},
     "test": {"soft_exit": {"rouge1": ..., "rouge2": ..., "rougeL": ...}, ...,
              "examples": 900, "distinct_outputs": 0.8, "removed_repeats": 0.1},
     "seconds": {"pretrain.prepare": 30.0, "finetune.train": 400.0, ...},
     "accounts": {"pretrain": {"goodput": 0.9, "seconds_compile": 20.0, ...}, ...}}

Losses are nats per token, rates source and target tokens a second without padding,
ROUGE 0 to 100, shares and accuracies 0 to 1. A part is there if its run is. The stages
of `seconds` are named after the run and the command.
"""

import json
from collections.abc import Sequence
from pathlib import Path

from elmer_jax.core.atomic_files import write_whole
from elmer_jax.core.errors import UserError
from elmer_jax.metrics.names import SCORES, SYSTEMS
from elmer_jax.reports import exit_map, html_page, plots
from elmer_jax.reports.read_run import Run, read_run
from elmer_jax.training.metric_writer import format_duration

SAMPLES = 20
_NAMES = {"pretrain": "Pre-training", "finetune": "Fine-tuning"}


def write_report(
  run_directories: Sequence[str | Path], output_directory: str | Path
) -> dict:
  """Writes index.html and summary.json into a folder.

  Args:
    run_directories: folders of evaluated runs: at most one pre-training and at most
      one fine-tuning.
    output_directory: made if it is missing.

  Returns:
    The content of summary.json.

  Raises:
    UserError: if a run lacks what the report needs, or the folder can't be written.
  """
  runs: dict[str, Run] = {}
  for directory in run_directories:
    run = read_run(directory)
    if run.purpose in runs:
      raise UserError(
        f"{runs[run.purpose].directory} and {directory} are runs of the same kind: a "
        "report has room for one pre-training and one fine-tuning"
      )
    runs[run.purpose] = run
  if not runs:
    raise UserError("a report needs at least one run")
  summary = _summary(runs)
  page = _page(runs)
  output = Path(output_directory)
  write_whole(output / "index.html", page)
  write_whole(output / "summary.json", json.dumps(summary, indent=2) + "\n")
  return summary


def in_words(summary: dict) -> list[str]:
  """Returns a summary as a few lines for a terminal."""
  lines = []
  if pretrain := summary.get("pretrain"):
    lines.append(
      "Pre-training: validation loss {initial_validation_loss:.2f} → "
      "{final_validation_loss:.2f} nats per token in {steps} steps; a model that "
      "ignores its input reaches {unigram_loss:.2f}, this one with another example's "
      "source {shuffled_source_loss:.2f}".format(**pretrain)
    )
  for split in ("test", "validation"):
    if split not in summary:
      continue
    scored = summary[split]
    systems = {name: entry for name, entry in scored.items() if isinstance(entry, dict)}
    key = _main_score(systems)
    lines.append(
      f"Fine-tuning: {scored['distinct_outputs']:.0%} of the outputs are distinct; "
      f"{SCORES[key]} over {scored['examples']:,} {split} examples:"
    )
    lines += [
      f"  {entry[key]:4.1f}  {SYSTEMS.get(name, name)}"
      for name, entry in systems.items()
    ]
  if seconds := summary["seconds"]:
    stages = ", ".join(f"{stage} {format_duration(s)}" for stage, s in seconds.items())
    lines.append(f"Time: {stages}")
  return lines


def _summary(runs: dict[str, Run]) -> dict:
  summary: dict = {}
  for purpose, run in runs.items():
    figures = {k: v for k, v in run.results.items() if k not in ("samples", "systems")}
    figures |= run.results.get("systems", {})
    figures["steps"] = run.steps
    last = _last_by_layer(run)
    figures |= {f"{name}_by_layer": values for name, values in last.items()}
    # A fine-tuning stands under the split on which its outputs were scored.
    figures.pop("split", None)
    summary[_split(run) if purpose == "finetune" else purpose] = figures
  summary["seconds"] = {
    f"{purpose}.{stage}": seconds
    for purpose, run in runs.items()
    for stage, seconds in run.seconds.items()
  }
  summary["accounts"] = {purpose: run.accounts for purpose, run in runs.items()}
  return summary


def _split(run: Run) -> str:
  """Returns the split on which a fine-tuning was scored."""
  return run.results.get("split", "test")


def _last_by_layer(run: Run) -> dict[str, list[float]]:
  layers = range(1, run.layers + 1)
  return {
    name: [run.curve("validation", f"{name}_layer_{layer}")[1][-1] for layer in layers]
    for name in ("loss", "accuracy")
  }


def _page(runs: dict[str, Run]) -> str:
  sections = []
  if "pretrain" in runs:
    sections += [_pretraining(runs["pretrain"]), _layers(runs["pretrain"])]
  if "finetune" in runs:
    sections.append(_fine_tuning(runs["finetune"]))
  sections.append(_facts(runs))
  if "finetune" in runs:
    sections.append(_test_samples(runs["finetune"]))
  if "pretrain" in runs:
    sections.append(_pretraining_samples(runs["pretrain"]))
  title = " and ".join(_NAMES[purpose] for purpose in _NAMES if purpose in runs)
  model = next(iter(runs.values())).config.get("model", {})
  subtitle = (
    f"ELMER, {model.get('encoder_layers', '?')} + {model.get('decoder_layers', '?')} "
    f"layers, width {model.get('d_model', '?')}"
  )
  layers = max(
    model.get("decoder_layers", 1), *(run.layers for run in runs.values()), 1
  )
  return html_page.page(title.capitalize(), subtitle, sections, layers)


def _pretraining(run: Run) -> str:
  found = run.results
  final, unigram = found["final_validation_loss"], found["unigram_loss"]
  shuffled = found["shuffled_source_loss"]
  svg = plots.loss(
    run.curve("train", "loss"),
    run.curve("validation", "loss"),
    [("unigram", unigram), ("shuffled source", shuffled)],
  )
  return html_page.section(
    "What pre-training learned",
    html_page.headline(
      [
        (f"{final:.2f}", "validation loss, nats per token"),
        (f"{found['initial_validation_loss']:.2f}", "at the start"),
        (f"{unigram - final:.2f}", "below the unigram loss"),
        (f"{shuffled - final:.2f}", "below the shuffled-source loss"),
      ]
    ),
    html_page.figure(
      svg,
      "Loss of the tokens at the exit layers drawn for them. Unigram: what a model "
      "that ignores its input can reach. Shuffled source: the final model with every "
      "source replaced by another example's.",
    ),
  )


def _layers(run: Run) -> str:
  if not run.layers:
    return ""
  layers = range(1, run.layers + 1)
  last = _last_by_layer(run)
  return html_page.section(
    "Layer by layer",
    html_page.paragraph(
      "Every decoder layer has an off-ramp: the same head, read after that layer. Each "
      "is measured on all tokens of the validation batches."
    ),
    html_page.figure(
      plots.layers_now(last["loss"], last["accuracy"]), "At the last evaluation."
    ),
    html_page.figure(
      plots.layers_over_time(
        [run.curve("validation", f"loss_layer_{layer}") for layer in layers],
        [run.curve("validation", f"accuracy_layer_{layer}") for layer in layers],
        run.curve("validation", "loss"),
      ),
      "Over the training, in the same colours. Dashed: the objective's own loss, over "
      "the exit layers drawn.",
    ),
  )


def _fine_tuning(run: Run) -> str:
  found = run.results
  systems = found["systems"]
  main = next(iter(systems))
  key = _main_score(systems)
  figures = [(f"{systems[main][key]:.1f}", SCORES[key])]
  if other := systems.get(f"{main}_shuffled_source"):
    gain = systems[main][key] - other[key]
    figures.append((f"{gain:.1f}", "lost with shuffled sources"))
  figures.append((f"{found['distinct_outputs']:.0%}", "of the outputs distinct"))
  if f"{main}_repeats_kept" in systems:
    removed = f"{found['removed_repeats']:.1%}"
    figures.append((removed, "of the tokens removed as repeats"))
  loss = plots.loss(run.curve("train", "loss"), run.curve("validation", "loss"), [])
  return html_page.section(
    "What fine-tuning learned",
    html_page.headline(figures),
    _scores(systems),
    html_page.paragraph(
      f"Scores, 0 to 100, over {found['examples']:,} {_split(run)} examples.", "note"
    ),
    html_page.figure(loss, "Fine-tuning loss."),
  )


def _main_score(systems: dict[str, dict[str, float]]) -> str:
  scores = next(iter(systems.values()))
  return next(key for key in SCORES if key in scores)


def _scores(systems: dict[str, dict[str, float]]) -> str:
  """Returns the table of systems: the model, its variants, the baselines."""
  # METEOR is only there where its program ran.
  columns = [
    key
    for key in sorted(SCORES, key=SCORES.get)
    if all(key in scores for scores in systems.values())
  ]
  heads = "".join(html_page.element("th", SCORES[key]) for key in columns)
  rows = [html_page.element("thead", html_page.element("tr", "<th></th>" + heads))]
  main = next(iter(systems))
  seen_baseline = False
  for name, scores in systems.items():
    css = "model" if name == main else ""
    if name.startswith(f"{main}_"):
      css = "same-model"
    if name.startswith("baseline_") and not seen_baseline:
      css, seen_baseline = "first-baseline", True
    label = html_page.escape(SYSTEMS.get(name, name.replace("_", " ")))
    cells = "".join(html_page.element("td", f"{scores[key]:.1f}") for key in columns)
    rows.append(html_page.element("tr", html_page.element("th", label) + cells, css))
  return html_page.element("table", "".join(rows), "scores")


def _test_samples(run: Run) -> str:
  rows = (("source", "source"), ("reference", "reference"))
  return _sample_section(run, f"{_split(run).capitalize()} texts", rows)


def _pretraining_samples(run: Run) -> str:
  title = "Corrupted texts, and what the model makes of them"
  rows = (("corrupted", "source"), ("original", "target"))
  return _sample_section(run, title, rows)


def _sample_section(run: Run, title: str, rows: Sequence[tuple[str, str]]) -> str:
  """Returns samples with their exit maps; `rows` are (label, key of the sample)."""
  samples = run.results["samples"][:SAMPLES]
  has_exits = _objective(run) != "autoregressive"
  blocks = []
  for sample in samples:
    lines = [
      html_page.element("h3", label)
      + html_page.element("p", html_page.visible(sample[key]))
      for label, key in rows
    ]
    lines.append(html_page.element("h3", "output"))
    if has_exits:
      text = exit_map.tokens(sample["layers"], sample["exit_layers"])
      lines += [exit_map.coloured(text), exit_map.layer_by_layer(text)]
    else:
      lines.append(html_page.element("p", html_page.visible(sample["output"])))
    blocks.append(html_page.element("article", "".join(lines), "sample"))
  head = _exit_map_key(run, samples) if has_exits else [_NO_EXITS]
  return html_page.section(title, *head, *blocks)


_NO_EXITS = html_page.paragraph("Written token by token: there are no exits.")


def _objective(run: Run) -> str | None:
  return run.config.get("objective", {}).get("name")


def _exit_map_key(run: Run, samples: Sequence[dict]) -> list[str]:
  """Returns what explains the exit maps of all samples together."""
  texts = [exit_map.tokens(s["layers"], s["exit_layers"]) for s in samples]
  layers = max((len(sample["layers"]) for sample in samples), default=run.layers)
  left = _objective(run) == "hard_exit"
  where = "it left" if left else "its prediction last changed"
  return [
    html_page.paragraph(
      f"The output is an exit map: each token has the colour of the layer at which "
      f"{where}, and what it was before stands above it. With the legend: the share of "
      "tokens that each layer settled."
    ),
    exit_map.legend(layers, exit_map.shares(texts, layers)),
  ]


def _facts(runs: dict[str, Run]) -> str:
  """Returns the small table of figures, a column a run."""
  rows: dict[str, list[str]] = {}
  for column, run in enumerate(runs.values()):
    found = run.results
    cells = {
      "Parameters": _count(found.get("parameters")),
      "Steps": _count(run.steps),
      "Tokens a second": _count(found.get("tokens_per_second")),
      "Examples evaluated": _count(found.get("examples")),
    }
    cells |= {f"Time to {s}": format_duration(t) for s, t in run.seconds.items()}
    cells |= _accounts(run.accounts)
    for name, cell in cells.items():
      rows.setdefault(name, ["–"] * len(runs))[column] = cell
  heads = [_NAMES[purpose] for purpose in runs] if len(runs) > 1 else []
  return html_page.section("Figures", html_page.facts(rows, heads))


def _accounts(found: dict[str, float]) -> dict[str, str]:
  """Returns where the time of training went, and how well its chips were used."""
  shares = {"Training time in steps": found.get("goodput")} | {
    f"Training time in {name.removeprefix('seconds_')}": value / found["seconds"]
    for name, value in found.items()
    if name.startswith("seconds_")
  }
  shares["Model FLOPs utilisation"] = found.get("mfu")
  cells = {name: f"{share:.1%}" for name, share in shares.items() if share is not None}
  if "device_memory_peak_gib" in found:
    cells["Device memory at most"] = f"{found['device_memory_peak_gib']:.1f} GiB"
  return cells


def _count(value: float | None) -> str:
  return "–" if value is None else f"{value:,.0f}"
