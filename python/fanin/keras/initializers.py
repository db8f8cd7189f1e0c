"""Initializers for the layers of Keras 3.

Keras passes a shape and a dtype to an initializer, but not the path of the variable. So each
initializer is given a name. `fanin.keras.init` sets all weights of a model by their paths.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras  # type: ignore[import-untyped]

from fanin._fill import fill
from fanin.keras._init import widened


@keras.saving.register_keras_serializable("fanin")
class Initializer(keras.initializers.Initializer):  # type: ignore[misc]
    """The initializer of a text: `fanin.fill` with a name and a seed.

    Examples:
        >>> make = Initializer("glorot_uniform", name="head/kernel", seed=42)
        >>> layer = keras.layers.Dense(10, kernel_initializer=make)
    """

    def __init__(self, init: str, name: str, seed: int, layout: str = "in_out") -> None:
        """Makes the initializer.

        Args:
            init: The initializer, as for `fanin.fill`. Names have the meaning that they have there.
            name: The name of the tensor, which determines the random stream.
            seed: A whole number from 0 to 2^64 - 1.
            layout: The order of the axes, from which the fans follow.
        """
        self.init, self.name, self.seed, self.layout = init, name, seed, layout

    def __call__(self, shape: Sequence[int], dtype: Any = None) -> Any:
        """Returns a tensor of the backend.

        Raises:
            ArgumentError: The text is not an initializer, or does not fit the shape.
        """
        known = keras.backend.standardize_dtype(dtype)
        array = fill(
            self.init,
            tuple(shape),
            name=self.name,
            seed=self.seed,
            dtype=known,
            layout=self.layout,
            progress=False,
        )
        return keras.ops.convert_to_tensor(widened(array), dtype=known)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the constructor."""
        return {
            "init": self.init,
            "name": self.name,
            "seed": self.seed,
            "layout": self.layout,
        }
