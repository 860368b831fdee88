# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""The page of a report: what a pre-training and a fine-tuning achieved."""

import datetime
from collections.abc import Mapping, Sequence

from elmer_jax.core.wording import format_duration
from elmer_jax.evaluation.samples import read_text
from elmer_jax.metrics.names import SCORE_NAMES, SYSTEM_NAMES, main_score
from elmer_jax.reports import exit_map, html_page, plots
from elmer_jax.reports.findings import problems, uses_source
from elmer_jax.reports.read_run import Run
from elmer_jax.reports.text_tables import score_columns

SAMPLES = 20  # shown on the page
_NAMES = {"pretrain": "Pre-training", "finetune": "Fine-tuning"}


def page(runs: Mapping[str, Run]) -> str:
  """Returns the page of runs by purpose: at most a pre-training and a fine-tuning."""
  pretrain, finetune = runs.get("pretrain"), runs.get("finetune")
  sections = []
  if pretrain:
    sections += [_pretraining(pretrain), _layers(pretrain)]
  if finetune:
    sections.append(_fine_tuning(finetune))
  sections.append(_figures(runs))
  if finetune:
    title = f"{finetune.split.capitalize()} texts"
    rows = (("source", "source"), ("reference", "reference"))
    sections.append(_samples(finetune, title, rows))
  if pretrain:
    rows = (("corrupted", "source"), ("original", "target"))
    sections.append(_samples(pretrain, "Corrupted texts and their restoration", rows))
  ordered = [runs[purpose] for purpose in _NAMES if purpose in runs]
  tasks = (f"{_NAMES[run.purpose].lower()} on {_task(run)}" for run in ordered)
  title = " and ".join(tasks)
  model = ordered[0].config.get("model", {})
  subtitle = html_page.paragraph(
    f"ELMER, {model.get('encoder_layers', '?')} + {model.get('decoder_layers', '?')} "
    f"layers, width {model.get('d_model', '?')}"
  )
  layers = max(model.get("decoder_layers", 1), *(run.layers for run in ordered), 1)
  subtitle += "".join(map(_origin, ordered))
  return html_page.page(title[0].upper() + title[1:], subtitle, sections, layers)


def _task(run: Run) -> str:
  data = run.config.get("data", {})
  files = f" ({data['files']})" if data.get("files") else ""
  return f"{data.get('task', 'an unknown task')}{files}"


def _origin(run: Run) -> str:
  """Returns when and by which command the results of a run were made."""
  time = datetime.datetime.fromtimestamp(run.results_file.stat().st_mtime)
  command = f"python -m elmer_jax.evaluate --workdir={run.directory}"
  return html_page.element(
    "p",
    f"{_NAMES[run.purpose]}: evaluated at step {run.results['checkpoint_step']:,} on "
    f"{time:%Y-%m-%d %H:%M} by " + html_page.element("code", html_page.escape(command)),
  )


def _pretraining(run: Run) -> str:
  found = run.results
  final, unigram = found["final_validation_loss"], found["unigram_loss"]
  shuffled = found["shuffled_source_loss"]
  plot = plots.loss(
    run.metrics.curve("train", "loss"),
    run.metrics.curve("validation", "loss"),
    [("unigram", unigram), ("shuffled source", shuffled)],
  )
  return html_page.section(
    "Pre-training loss",
    html_page.headline(
      [
        (f"{final:.2f}", "validation loss, nats per token", True),
        (f"{found['initial_validation_loss']:.2f}", "before the first step", True),
        _gain(
          final < unigram,
          f"{unigram - final:.2f}",
          "below the unigram loss",
          "failed: not below the unigram loss, which needs no source",
        ),
        _gain(
          uses_source(final, shuffled, is_loss=True),
          f"{shuffled - final:.2f}",
          "below the shuffled-source loss",
          "failed: not below the shuffled-source loss, so the source is not used",
        ),
      ]
    ),
    _problems(run),
    html_page.figure(
      plot.svg(),
      "Loss at the exit layers drawn for the tokens. Unigram: the best loss of a model "
      "that ignores its input. Shuffled source: the final model with every source "
      "replaced by another example's.",
    ),
  )


def _gain(
  is_success: bool, figure: str, success: str, failure: str
) -> tuple[str, str, bool]:
  """Returns an entry of a headline, with the label of its outcome."""
  return figure, success if is_success else failure, is_success


def _problems(run: Run) -> str:
  return "".join(html_page.paragraph(text, "note failure") for text in problems(run))


def _layers(run: Run) -> str:
  if not run.layers:
    return ""
  numbers = range(1, run.layers + 1)
  at_end = plots.layers_at_end(run.last_by_layer("loss"), run.last_by_layer("accuracy"))
  over_time = plots.layers_over_time(
    [run.metrics.curve("validation", f"loss_layer_{n}") for n in numbers],
    [run.metrics.curve("validation", f"accuracy_layer_{n}") for n in numbers],
    run.metrics.curve("validation", "loss"),
  )
  return html_page.section(
    "Layer by layer",
    html_page.paragraph(
      "Every decoder layer has an off-ramp: the output head, applied after that layer. "
      "Each is measured on all tokens of the validation batches."
    ),
    html_page.figure(at_end.svg(), "At the last evaluation."),
    html_page.figure(
      over_time.svg(),
      "During training, in the same colours. Dashed: the objective's own loss, at the "
      "exit layers drawn.",
    ),
  )


def _fine_tuning(run: Run) -> str:
  found, systems = run.results, run.results["systems"]
  main = next(iter(systems))
  metric = main_score(systems[main])
  score = systems[main][metric]
  figures = [(f"{score:.1f}", SCORE_NAMES[metric], True)]
  if shuffled := systems.get(f"{main}_shuffled_source"):
    figures.append(
      _gain(
        uses_source(score, shuffled[metric]),
        f"{score - shuffled[metric]:.1f}",
        "lost with shuffled sources",
        "failed: nothing lost with shuffled sources, so the source is not used",
      )
    )
  figures.append((f"{found['distinct_outputs']:.0%}", "of the outputs distinct", True))
  if f"{main}_repeats_kept" in systems:
    removed = f"{found['removed_repeats']:.1%}"
    figures.append((removed, "of the tokens removed as repeats", True))
  plot = plots.loss(
    run.metrics.curve("train", "loss"), run.metrics.curve("validation", "loss"), []
  )
  return html_page.section(
    "Fine-tuning scores",
    html_page.headline(figures),
    _scores(systems),
    _problems(run),
    html_page.paragraph(
      f"Scores, 0 to 100, over {found['examples']:,} {run.split} examples.", "note"
    ),
    html_page.figure(plot.svg(), "Fine-tuning loss."),
  )


def _scores(systems: Mapping[str, Mapping[str, float]]) -> str:
  """Returns the table of systems: the model, its variants, the baselines."""
  columns = score_columns(systems)
  names = list(systems)
  css = {
    i: "same-model" for i, name in enumerate(names) if name.startswith(f"{names[0]}_")
  }
  baselines = [i for i, name in enumerate(names) if name.startswith("baseline_")]
  css |= {0: "model"} | dict.fromkeys(baselines[:1], "first-baseline")
  rows = [
    [
      SYSTEM_NAMES.get(name, name.replace("_", " ")),
      *(f"{scores[key]:.1f}" for key in columns),
    ]
    for name, scores in systems.items()
  ]
  heads = ["", *(SCORE_NAMES[key] for key in columns)]
  return html_page.table(heads, rows, "scores", css)


_WITHOUT_EXITS = {
  "autoregressive": "Decoded token by token: there are no exits.",
  "masked_diffusion": "Refined in several passes: there are no exits.",
}


def _samples(run: Run, title: str, rows: Sequence[tuple[str, str]]) -> str:
  """Returns samples with their exit maps; `rows` are (label, key of the sample)."""
  samples = run.results["samples"][:SAMPLES]
  objective = run.config.get("objective", {}).get("name")
  has_exits = objective not in _WITHOUT_EXITS
  head = [html_page.paragraph(_WITHOUT_EXITS.get(objective, ""))]
  if has_exits:
    layers = max((len(sample["layers"]) for sample in samples), default=run.layers)
    exit_layers = [layer for sample in samples for layer in sample["exit_layers"]]
    where = "it exited" if objective == "hard_exit" else "its prediction last changed"
    head = [
      html_page.paragraph(
        "The outputs are exit maps: each token has the colour of the layer at which "
        f"{where}; the prediction before that is above it. The legend has each layer's "
        "share of the tokens."
      ),
      exit_map.legend(layers, exit_layers),
    ]
  blocks = []
  for sample in samples:
    texts = [(label, html_page.visible(read_text(sample, key))) for label, key in rows]
    output = (
      exit_map.exit_map(sample["layers"], sample["exit_layers"])
      if has_exits
      else html_page.visible(sample["output"])
    )
    blocks.append(html_page.sample([*texts, ("output", output)]))
  return html_page.section(title, *head, *blocks)


def _figures(runs: Mapping[str, Run]) -> str:
  """Returns the table of other figures, a column per run."""
  table: dict[str, list[str]] = {}
  for column, run in enumerate(runs.values()):
    cells = {
      "Parameters": _count(run.results.get("parameters")),
      "Steps": _count(run.steps),
      "Tokens per second": _count(run.results.get("tokens_per_second")),
      "Examples evaluated": _count(run.results.get("examples")),
    }
    cells |= {
      f"Time to {stage}": format_duration(s) for stage, s in run.seconds.items()
    }
    for name, cell in (cells | _training_time(run.accounts)).items():
      table.setdefault(name, ["–"] * len(runs))[column] = cell
  heads = ["", *(_NAMES[purpose] for purpose in runs)] if len(runs) > 1 else []
  rows = [[name, *cells] for name, cells in table.items()]
  return html_page.section("Figures", html_page.table(heads, rows, "facts"))


def _training_time(accounts: Mapping[str, float]) -> dict[str, str]:
  """Returns the shares of training time, and how well the chips were used."""
  shares = {"Training time in steps": accounts.get("goodput")} | {
    f"Training time in {name.removeprefix('seconds_')}": value / accounts["seconds"]
    for name, value in accounts.items()
    if name.startswith("seconds_")
  }
  shares["Model FLOPs utilisation"] = accounts.get("mfu")
  cells = {name: f"{share:.1%}" for name, share in shares.items() if share is not None}
  if "device_memory_peak_gib" in accounts:
    cells["Peak device memory"] = f"{accounts['device_memory_peak_gib']:.1f} GiB"
  return cells


def _count(value: float | None) -> str:
  return "–" if value is None else f"{value:,.0f}"
