# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""A gate that ends decoding early: fitting, calibration, decoding, its file."""
