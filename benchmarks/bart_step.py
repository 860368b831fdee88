# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Hugging Face BART's training step in a fast form that its users can write.

SDPA attention and fused AdamW; on a GPU compiled, in bfloat16 with float32 weights.
"""

import contextlib

import torch
import transformers

BETAS, EPSILON = (0.9, 0.999), 1e-8


def versions() -> dict[str, str]:
  """Returns the versions of PyTorch and transformers."""
  return {module.__name__: module.__version__ for module in (torch, transformers)}


def on_gpu() -> bool:
  return torch.cuda.is_available()


class Step:
  """A model with random weights and its optimizer.

  Args:
    sizes: keyword arguments of `BartConfig`, dropout included.
    source_BxS, target_BxT: ids without padding, NumPy int64.
    learning_rate: of AdamW without weight decay.
    clip_norm: of clipping by global norm.
    threads: PyTorch's, on a CPU.
  """

  def __init__(self, sizes, source_BxS, target_BxT, learning_rate, clip_norm, threads):
    torch.manual_seed(0)
    torch.set_num_threads(threads)
    torch.set_float32_matmul_precision("high" if on_gpu() else "highest")
    self.device = torch.device("cuda" if on_gpu() else "cpu")
    config = transformers.BartConfig(
      **sizes, attention_dropout=0.0, activation_dropout=0.0, use_cache=False
    )
    config._attn_implementation = "sdpa"
    self.model = transformers.BartForConditionalGeneration(config).to(self.device)
    self.model.train()
    self.forward = torch.compile(self.model) if on_gpu() else self.model
    self.optimizer = torch.optim.AdamW(
      self.model.parameters(),
      lr=learning_rate,
      betas=BETAS,
      eps=EPSILON,
      weight_decay=0.0,
      fused=True,
    )
    self.batch = {
      "input_ids": torch.from_numpy(source_BxS).to(self.device),
      "labels": torch.from_numpy(target_BxT).to(self.device),
    }
    self.clip_norm = clip_norm
    self.loss = None

  def __call__(self) -> None:
    """Makes one step; on a GPU it is dispatched without waiting for it."""
    autocast = (
      torch.autocast("cuda", torch.bfloat16) if on_gpu() else contextlib.nullcontext()
    )
    with autocast:
      loss = self.forward(**self.batch).loss
    loss.backward()
    torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.clip_norm)
    self.optimizer.step()
    self.optimizer.zero_grad(set_to_none=True)
    self.loss = loss.detach()

  def wait(self) -> float:
    """Waits for all steps and returns the last loss, nats per target token."""
    if on_gpu():
      torch.cuda.synchronize()
    return float(self.loss)

  def state_bytes(self) -> int:
    """Returns the bytes of weights and optimizer state."""
    moments = (state.values() for state in self.optimizer.state.values())
    tensors = [tensor for values in moments for tensor in values]
    tensors += self.model.parameters()
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)

  def peak_on_gpu(self) -> int:
    """Returns the peak bytes of PyTorch's arrays."""
    return torch.cuda.max_memory_allocated()
