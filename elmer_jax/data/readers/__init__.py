# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Readers of text, JSON objects and pairs from plain or compressed files."""
