"""Weights made by JAX, on the CPU and on the accelerator that JAX takes by default:
`python benches/peers/with_jax.py`.

XLA has no setting for its threads; `--threads` binds the process to as many cores (on Linux).
"""

import os

from table import Table, arguments, cores


def measure(jax, device, name, options):
    import jax.numpy as jnp

    shape = (options.elements,)
    draws = {
        "plain fill f32": (4, lambda key, value: jnp.full(shape, value, jnp.float32)),
        "plain fill bf16": (2, lambda key, value: jnp.full(shape, value, jnp.bfloat16)),
        "normal f32": (4, lambda key, std: std * jax.random.normal(key, shape, jnp.float32)),
        "normal bf16": (
            2,
            lambda key, std: std.astype(jnp.bfloat16) * jax.random.normal(key, shape, jnp.bfloat16),
        ),
        "uniform f32": (
            4,
            lambda key, _: jax.random.uniform(key, shape, jnp.float32, -0.05, 0.05),
        ),
        "truncated normal f32": (
            4,
            lambda key, std: std * jax.random.truncated_normal(key, -2.0, 2.0, shape, jnp.float32),
        ),
    }
    with jax.default_device(device):
        key = jax.random.key(42, impl=options.prng)
        # The key is an argument: for a constant key, the compiler would make the fill once.
        value = jnp.float32(0.02)
        title = f"jax {jax.__version__}, {options.prng}, {name}, elements: {options.elements}"
        table = Table(title, options.seconds)
        for case, (size, draw) in draws.items():
            make = jax.jit(draw)
            table.row(
                case, options.elements, size, lambda: jax.block_until_ready(make(key, value))
            )
    print()


def main():
    parser = arguments(__doc__)
    parser.add_argument(
        "--prng",
        default="threefry2x32",
        choices=["threefry2x32", "rbg", "unsafe_rbg"],
        help="JAX's generator; default: its own default, threefry2x32",
    )
    options = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cores()[: options.threads])
    # XLA counts its cores while it loads, so the affinity is set before.
    import jax

    threads = len(cores())
    measure(jax, jax.devices("cpu")[0], f"CPU, threads: {threads}", options)
    if jax.default_backend() != "cpu":
        device = jax.devices()[0]
        measure(jax, device, device.device_kind, options)


if __name__ == "__main__":
    main()
