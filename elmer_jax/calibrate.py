# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Calibrates a gate for a run: texts stop at the layer where they are stable.

    python -m elmer_jax.calibrate --workdir=DIR --loss=0.3

The weights stay as they are. The gate is fitted on training sources; its threshold, and
the number of layers that any text runs through, are the cheapest that lose at most
`--loss` on the validation split against all layers, with `--confidence`. They are
stored with the newest checkpoint, for `generate --exit=gated`. The log also has what
`--depth=K` would lose, which needs no gate.
"""

import json

import ml_collections
from absl import flags

from elmer_jax.commands import runner

_LOSS = flags.DEFINE_float("loss", 0.3, "What texts may lose on average, in points.", 0)
_MEASURE = flags.DEFINE_enum(
  "measure",
  "rougeL",
  ["rougeL", "agreement"],
  "What is lost: ROUGE-L, or the percentage of tokens that are those of all layers.",
)
_CONFIDENCE = flags.DEFINE_float(
  "confidence", 0.95, "That the loss is not exceeded; 0.5 takes the mean as it is."
)
_TRIM = flags.DEFINE_integer(
  "trim",
  0,
  "After this many layers the positions after the text are dropped; 0: none are.",
  0,
)
_TEXTS = flags.DEFINE_integer("texts", 1000, "Texts of each split, at most.", 2)


def main(config: ml_collections.ConfigDict, workdir: str) -> None:
  from elmer_jax.commands.gate_calibration import calibrate

  flag_values = (_MEASURE, _LOSS, _CONFIDENCE, _TRIM, _TEXTS)
  print(json.dumps(calibrate(config, workdir, *(flag.value for flag in flag_values))))


if __name__ == "__main__":
  runner.run(main)
