"""Weights made by numpy, one generator for each thread: `python benches/peers/with_numpy.py`.

As numpy's own guide to multithreaded generation does it; the weights depend on the number of
threads. numpy has neither bf16 nor a truncated normal.
"""

from concurrent.futures import ThreadPoolExecutor

import numpy as np

from table import Table, arguments


def main():
    options = arguments(__doc__).parse_args()
    elements, threads = options.elements, options.threads
    weights = np.empty(elements, dtype=np.float32)
    parts = np.array_split(weights, threads)
    pool = ThreadPoolExecutor(threads)

    def everywhere(make):
        list(pool.map(make, range(threads)))

    def plain(part):
        parts[part].fill(0.02)

    table = Table(
        f"numpy {np.__version__}, CPU, threads: {threads}, elements: {elements}", options.seconds
    )
    table.row("plain fill f32", elements, 4, lambda: everywhere(plain))
    # PCG64 is what default_rng takes, SFC64 numpy's fastest.
    for bits in [np.random.PCG64, np.random.SFC64]:
        seeds = np.random.SeedSequence(42).spawn(threads)
        generators = [np.random.Generator(bits(seed)) for seed in seeds]

        def normal(part):
            generators[part].standard_normal(dtype=np.float32, out=parts[part])
            parts[part] *= np.float32(0.02)

        def uniform(part):
            generators[part].random(dtype=np.float32, out=parts[part])
            parts[part] *= np.float32(0.1)
            parts[part] -= np.float32(0.05)

        table.row(f"normal f32, {bits.__name__}", elements, 4, lambda: everywhere(normal))
        table.row(f"uniform f32, {bits.__name__}", elements, 4, lambda: everywhere(uniform))


if __name__ == "__main__":
    main()
