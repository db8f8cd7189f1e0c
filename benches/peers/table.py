"""Code that the peers share: arguments, timing and the table."""

import argparse
import os
import statistics
import time


def arguments(about):
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--elements", type=int, default=1 << 24, help="default: 2^24")
    parser.add_argument("--threads", type=int, default=len(cores()), help="default: all cores")
    parser.add_argument("--seconds", type=float, default=2.0, help="for each case; default: 2")
    return parser


def cores():
    """Returns the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def host_clock(once):
    """Returns the seconds of one call, which returns when its work is done."""
    start = time.perf_counter()
    once()
    return time.perf_counter() - start


class Table:
    """Prints a markdown row for each case as soon as it is measured."""

    def __init__(self, title, seconds):
        self.seconds = seconds
        print(f"{title}\n")
        print("| case | time | ns an element | GB/s |")
        print("|---|---|---|---|", flush=True)

    def row(self, case, elements, size, once, clock=host_clock):
        """Measures `once`, which fills `elements` elements of `size` bytes. The first call warms up."""
        times = repeat(once, clock, self.seconds)
        median = statistics.median(times)
        print(
            f"| {case} | {duration(median)} (best {duration(min(times))})"
            f" | {median * 1e9 / elements:.3g} | {size * elements / median / 1e9:.3g} |",
            flush=True,
        )


class OrthogonalTable:
    """Prints the columns of `cargo bench --bench orthogonal` that a peer has."""

    def __init__(self, title, seconds):
        self.seconds = seconds
        print(f"{title}, orthogonal matrices of n x n\n")
        print("| n | | seconds | GFLOP/s | max abs(QᵀQ − I) |")
        print("|---:|---|---:|---:|---:|", flush=True)

    def row(self, case, n, once, error, clock=host_clock):
        """Measures `once`, which makes a matrix. `error` returns its distance from an orthogonal one."""
        median = statistics.median(repeat(once, clock, self.seconds))
        # Operations of a QR and its Q, counted as in benches/orthogonal.rs.
        operations = 8 / 3 * n**3
        print(
            f"| {n} | {case} | {median:.3g} | {operations / median / 1e9:.3g} | {error():.1e} |",
            flush=True,
        )


def repeat(once, clock, seconds):
    """Returns the seconds of each repetition, at least three, after one that warms up."""
    clock(once)
    times = []
    end = time.perf_counter() + seconds
    while len(times) < 3 or time.perf_counter() < end:
        times.append(clock(once))
    return times


def duration(seconds):
    for factor, unit in [(1e6, "µs"), (1e3, "ms")]:
        if seconds * factor < 999.5:
            return f"{seconds * factor:.3g} {unit}"
    return f"{seconds:.3g} s"
