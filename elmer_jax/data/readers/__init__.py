# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Files of text, of JSON objects and of pairs, read as they are or compressed."""
