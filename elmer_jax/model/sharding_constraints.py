# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Sharding of activations: the model names their axes, the run maps names to a mesh."""

import jax

# A function from the names of an array's axes to its sharding; None: XLA chooses. It is
# part of JAX's cache keys, so that no program is used on another mesh.
current = jax.make_user_context(default_value=None)


def constrain(array: jax.Array, *axes: str | None) -> jax.Array:
  """Shards an array, and its gradient, by the rules of the run.

  Args:
    array: any activation, or a parameter on its way into one.
    axes: a logical name for each axis; None where it is not sharded.
  """
  sharding_of = current.value
  if sharding_of is None:
    return array
  return jax.lax.with_sharding_constraint(array, sharding_of(axes))
