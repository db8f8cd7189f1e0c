"""What the peers share: arguments, timing and the table."""

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
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def host_clock(once):
    """Seconds of one call, which returns when its work is done."""
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
        """`once` fills `elements` elements of `size` bytes; the first call is for warming up."""
        times = repeat(once, clock, self.seconds)
        median = statistics.median(times)
        print(
            f"| {case} | {duration(median)} (best {duration(min(times))})"
            f" | {median * 1e9 / elements:.3g} | {size * elements / median / 1e9:.3g} |",
            flush=True,
        )


class OrthogonalTable:
    """The rows of `cargo bench --bench orthogonal`, as far as a peer has them."""

    def __init__(self, title, seconds):
        self.seconds = seconds
        print(f"{title}, orthogonal matrices of n x n\n")
        print("| n | | seconds | GFLOP/s | max abs(QᵀQ − I) |")
        print("|---:|---|---:|---:|---:|", flush=True)

    def row(self, case, n, once, error, clock=host_clock):
        """`once` makes a matrix, `error` says how far it is from an orthogonal one."""
        median = statistics.median(repeat(once, clock, self.seconds))
        # Of a QR and its Q, counted as benches/orthogonal.rs does.
        operations = 8 / 3 * n**3
        print(
            f"| {n} | {case} | {median:.3g} | {operations / median / 1e9:.3g} | {error():.1e} |",
            flush=True,
        )


def repeat(once, clock, seconds):
    """Seconds of each repetition, three at least, after one for warming up."""
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
