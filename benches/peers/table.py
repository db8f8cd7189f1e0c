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
        clock(once)
        times = []
        end = time.perf_counter() + self.seconds
        while len(times) < 3 or time.perf_counter() < end:
            times.append(clock(once))
        median = statistics.median(times)
        print(
            f"| {case} | {duration(median)} (best {duration(min(times))})"
            f" | {median * 1e9 / elements:.3g} | {size * elements / median / 1e9:.3g} |",
            flush=True,
        )


def duration(seconds):
    for factor, unit in [(1e6, "µs"), (1e3, "ms")]:
        if seconds * factor < 999.5:
            return f"{seconds * factor:.3g} {unit}"
    return f"{seconds:.3g} s"
