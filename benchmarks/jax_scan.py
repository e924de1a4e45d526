"""The same training in JAX, with a whole epoch as one compiled scan: the machine's speed without the overhead of a Python loop.

Needs the extra ``bench``. The last batch of an epoch, half as large as the others, is dropped: a scan needs equal batches.
"""

import time
from typing import Any

from benchmarks.loops import BATCH, DATA, scaled


def by_scan(epochs: int) -> list[float]:
    """784-128-64-10 with ReLU, optax's Adam, batches of 64. Seconds of each epoch; the first includes compilation."""
    import jax
    import jax.numpy as jnp
    import optax
    from torchvision import datasets

    images, digits = (jnp.asarray(tensor.numpy()) for tensor in scaled(datasets.MNIST(DATA, train=True)))
    steps = len(images) // BATCH
    widths = (784, 128, 64, 10)
    keys = jax.random.split(jax.random.key(0), len(widths))
    parameters = [
        (jax.random.uniform(key, (a, b), minval=-(a**-0.5), maxval=a**-0.5), jnp.zeros(b))
        for key, a, b in zip(keys, widths, widths[1:], strict=False)
    ]
    optimizer = optax.adam(1e-3)

    def loss(parameters: Any, x: Any, y: Any) -> Any:
        for weight, bias in parameters[:-1]:
            x = jax.nn.relu(x @ weight + bias)
        weight, bias = parameters[-1]
        return optax.softmax_cross_entropy_with_integer_labels(x @ weight + bias, y).mean()

    @jax.jit
    def epoch(parameters: Any, state: Any, key: Any) -> Any:
        def step(carry: Any, batch: Any) -> Any:
            parameters, state = carry
            value, gradients = jax.value_and_grad(loss)(parameters, images[batch], digits[batch])
            updates, state = optimizer.update(gradients, state, parameters)
            return (optax.apply_updates(parameters, updates), state), value

        order = jax.random.permutation(key, len(images))[: steps * BATCH].reshape(steps, BATCH)
        return jax.lax.scan(step, (parameters, state), order)

    state, seconds = optimizer.init(parameters), []
    for key in jax.random.split(keys[-1], epochs):
        start = time.perf_counter()
        (parameters, state), values = epoch(parameters, state, key)
        values.block_until_ready()
        seconds.append(time.perf_counter() - start)
    return seconds
