# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""What the commands share: flags, one-line errors, stages of a run, its folder."""
