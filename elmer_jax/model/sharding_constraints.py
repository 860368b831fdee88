# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""Where activations lie: the model names their axes, who runs it knows the places."""

import jax

# From the names of an array's axes to its sharding; None: everything is left to XLA.
# JAX keys its caches by it: what was traced for one mesh is never used on another.
current = jax.make_user_context(default_value=None)


def constrain(array: jax.Array, *axes: str | None) -> jax.Array:
  """Returns the array, and its gradient, where the rules of the run want them.

  Args:
    array: any activation, or a parameter on its way into one.
    axes: a logical name for each axis; None where no device has less than all of it.
  """
  place = current.value
  if place is None:
    return array
  return jax.lax.with_sharding_constraint(array, place(axes))
