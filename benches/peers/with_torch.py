"""Weights made by torch, on the CPU and, where there is one, on a CUDA GPU:
`python benches/peers/with_torch.py`.
"""

import torch

from table import OrthogonalTable, Table, arguments, host_clock


def cuda_clock(once):
    """Returns the seconds of one call on the GPU, by the GPU's clock."""
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    once()
    end.record()
    end.synchronize()
    return start.elapsed_time(end) * 1e-3


@torch.no_grad()
def measure(device, name, options, clock):
    elements = options.elements
    torch.manual_seed(42)
    f32 = torch.empty(elements, dtype=torch.float32, device=device)
    bf16 = torch.empty(elements, dtype=torch.bfloat16, device=device)

    table = Table(f"torch {torch.__version__}, {name}, elements: {elements}", options.seconds)
    cases = [
        ("plain fill f32", f32, lambda: f32.fill_(0.02)),
        ("plain fill bf16", bf16, lambda: bf16.fill_(0.02)),
        ("normal f32", f32, lambda: f32.normal_(0.0, 0.02)),
        ("normal bf16", bf16, lambda: bf16.normal_(0.0, 0.02)),
        ("uniform f32", f32, lambda: f32.uniform_(-0.05, 0.05)),
        (
            "truncated normal f32",
            f32,
            lambda: torch.nn.init.trunc_normal_(f32, std=0.02, a=-0.04, b=0.04),
        ),
    ]
    for case, weights, once in cases:
        table.row(case, elements, weights.element_size(), once, clock)
    print()
    if options.orthogonal:
        table = OrthogonalTable(f"torch {torch.__version__}, {name}", options.seconds)
        for n in options.orthogonal:
            matrix = torch.empty(n, n, device=device)
            table.row(
                "torch.nn.init.orthogonal_ f32",
                n,
                lambda: torch.nn.init.orthogonal_(matrix),
                lambda: off_orthogonal(matrix),
                clock,
            )
        print()


def off_orthogonal(matrix):
    """Returns max |Q^T Q - I|."""
    q = matrix.double()
    return (q.T @ q - torch.eye(len(q), dtype=q.dtype, device=q.device)).abs().max().item()


def main():
    parser = arguments(__doc__)
    parser.add_argument(
        "--orthogonal",
        type=lambda sizes: [int(n) for n in sizes.split(",")],
        default=[4096],
        metavar="N,N,...",
        help="sizes of the orthogonal matrices; default: 4096",
    )
    parser.add_argument(
        "--no-orthogonal",
        dest="orthogonal",
        action="store_const",
        const=[],
        help="leave out the orthogonal matrices",
    )
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    measure("cpu", f"CPU, threads: {options.threads}", options, host_clock)
    if torch.cuda.is_available():
        measure("cuda", torch.cuda.get_device_name(), options, cuda_clock)


if __name__ == "__main__":
    main()
