# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Checkpoints: the state of a run, Orbax, averaging, Hugging Face folders."""
