# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Byte-level BPE in BART's id order, its files and its special tokens."""
