# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Throughput per chip and model FLOPs utilisation."""

import jax
import ml_collections

from elmer_jax import configuration
from elmer_jax.model import flops
from elmer_jax.model.config import ModelConfig
from elmer_jax.parallel import chips


class Throughput:
  """Converts a run's rates to rates per chip."""

  def __init__(self, config: ml_collections.ConfigDict, model_config: ModelConfig):
    of_example = flops.of_example(
      model_config,
      config.objective.name,
      configuration.encoder_positions(config),
      config.data.target_length,
      configuration.decoder_positions(config),
    )
    self._flops_per_step = config.data.batch_size * of_example.training
    self._chip = chips.of_kind(jax.devices()[0].device_kind)

  def per_chip(
    self, steps_per_second: float, tokens_per_second: float
  ) -> dict[str, float]:
    """Returns metrics per chip: tokens and model FLOPs per second, MFU, peak memory.

    Args:
      steps_per_second: training steps.
      tokens_per_second: source and target tokens (not PAD) of all processes.

    Returns:
      `mfu` only for chips whose peak is known, `device_memory_peak_gib` (of this
      process's devices) only where the device reports it.
    """
    count = jax.device_count()
    flops_per_chip = steps_per_second * self._flops_per_step / count
    rates = {
      "tokens_per_second_per_chip": tokens_per_second / count,
      "model_flops_per_second_per_chip": flops_per_chip,
    }
    if self._chip:
      rates["mfu"] = flops_per_chip / self._chip.peak_flops
    stats = [device.memory_stats() or {} for device in jax.local_devices()]
    peaks = [s["peak_bytes_in_use"] for s in stats if "peak_bytes_in_use" in s]
    if peaks:
      rates["device_memory_peak_gib"] = max(peaks) / 2**30
    return rates
