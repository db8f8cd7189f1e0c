"""A lottery ticket (Frankle, Carbin 2019, arXiv:1803.03635): train, prune, rewind, train again.

    python python/examples/lottery_ticket.py

Rewinding needs the initial weights a second time. They follow from the seed and the names, so no
copy is kept: `init_` makes them again, for the layers that `only` names, and on any number of
devices.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import prune

from fanin.torch import build, init_

SEED = 42


def network() -> nn.Module:
    """Returns a small network."""
    return nn.Sequential(
        nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 4)
    )


def data() -> tuple[Tensor, Tensor]:
    """Returns points, and the class of each: the largest of four projections."""
    generator = torch.Generator().manual_seed(0)
    points = torch.randn(1024, 16, generator=generator)
    return points, (points @ torch.randn(16, 4, generator=generator)).argmax(1)


def train(model: nn.Module, steps: int = 200) -> float:
    """Trains and returns the last loss."""
    points, classes = data()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(steps):
        loss = F.cross_entropy(model(points), classes)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return float(loss.detach())


def main() -> None:
    """Finds a ticket and compares it with the same mask on another start."""
    model = build(network, seed=SEED)
    print(f"dense:                     loss {train(model):.4f}")

    # The mask keeps the largest tenth of the trained weights.
    layers = [layer for layer in model if isinstance(layer, nn.Linear)]
    masks = [layer.weight.abs() >= layer.weight.abs().quantile(0.9) for layer in layers]

    for label, seed in (("rewound to its own start", SEED), ("the mask, another start", SEED + 1)):
        init_(model, seed, only=["*.weight", "*.bias"])
        for layer, mask in zip(layers, masks):
            prune.custom_from_mask(layer, "weight", mask)
        print(f"{label + ':':26s} loss {train(model):.4f}")
        for layer in layers:
            prune.remove(layer, "weight")


if __name__ == "__main__":
    main()
