"""Checks of one backend, which Keras reads from the environment: `python program.py`."""

from __future__ import annotations

import warnings

import keras
import numpy as np

import fanin
import fanin.keras

SEED = 42


def model() -> keras.Model:
    """Returns a model with all kinds of variables."""
    return keras.Sequential(
        [
            keras.layers.Input((8,)),
            keras.layers.Dense(6, name="up", dtype="bfloat16"),
            keras.layers.BatchNormalization(name="norm"),
            keras.layers.Dropout(0.1, name="drop"),
            keras.layers.Dense(3, name="head", kernel_initializer="orthogonal"),
        ],
        name="net",
    )


def values(variable: keras.Variable) -> np.ndarray:
    """Returns a variable as binary32 numbers."""
    return keras.ops.convert_to_numpy(keras.ops.cast(variable, "float32"))


def check_models() -> None:
    """Compares all weights with those of a plan."""
    net = model()
    state = [values(one) for one in net.variables if "seed" in one.path]
    fanin.keras.init(net, "keras", SEED)
    shapes = {one.path: tuple(one.shape) for one in net.weights}
    assert "net/up/kernel" in shapes, shapes
    plan = fanin.Recipe.preset("keras").plan(shapes, SEED)
    for one in net.weights:
        expected = plan.fill(one.path, dtype=one.dtype).astype(np.float32)
        np.testing.assert_array_equal(values(one), expected, one.path)
    after = [values(one) for one in net.variables if "seed" in one.path]
    assert state
    np.testing.assert_array_equal(state, after)
    assert net(np.ones((2, 8), np.float32)).shape == (2, 3)


def check_warnings() -> None:
    """A rule that applies to no tensor is a warning at the line of the caller."""
    rules = [{"match": "nothing", "init": "ones"}, {"match": "*", "init": "zeros"}]
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        fanin.keras.init(model(), fanin.Recipe.from_rules(rules), SEED)
    assert [one.filename for one in found if "nothing" in str(one.message)] == [__file__], found


def check_initializers() -> None:
    """Compares arrays with those of `fanin.fill`, also after a round trip through a config."""
    make = fanin.keras.initializers.Initializer("glorot_uniform", name="head/kernel", seed=SEED)
    again = keras.initializers.deserialize(keras.initializers.serialize(make))
    for dtype in ("float32", "float16", "bfloat16"):
        for one in (make, again):
            layer = keras.layers.Dense(5, kernel_initializer=one, dtype=dtype)
            layer.build((None, 7))
            expected = fanin.fill(
                "glorot_uniform",
                (7, 5),
                name="head/kernel",
                seed=SEED,
                dtype=dtype,
                layout="in_out",
            )
            assert layer.kernel.dtype == dtype
            np.testing.assert_array_equal(values(layer.kernel), expected.astype(np.float32))


def check_errors() -> None:
    """Compares messages."""
    for make, part in (
        (lambda: keras.layers.Dense(3, name="fc"), "model 'fc' is not built"),
        (Twins, "two variables have the path"),
    ):
        try:
            fanin.keras.init(make(), seed=1)
        except fanin.ArgumentError as error:
            assert part in str(error), error
        else:
            raise AssertionError(part)


class Twins(keras.Layer):
    """Two layers whose variables have equal paths."""

    def __init__(self) -> None:
        super().__init__()
        self.twins = [keras.layers.Dense(2, name="twin") for _ in range(2)]
        for layer in self.twins:
            layer.build((None, 2))
        self.built = True


def check_distribution() -> None:
    """Compares shards on devices that XLA makes of one processor."""
    devices = keras.distribution.list_devices()
    assert len(devices) == 8
    mesh = keras.distribution.DeviceMesh((2, 4), ("batch", "model"), devices)
    layouts = keras.distribution.LayoutMap(mesh)
    layouts["net/up/kernel"] = (None, "batch")
    layouts["net/head/kernel"] = ("batch", None)
    parallel = keras.distribution.ModelParallel(layout_map=layouts, batch_dim_name="batch")
    with parallel.scope():
        net = model()
    fanin.keras.init(net, "keras", SEED)
    kernel = net.get_layer("up").kernel
    assert {shard.data.shape for shard in kernel.value.addressable_shards} == {(8, 3)}
    plan = fanin.Recipe.preset("keras").plan({kernel.path: (8, 6)}, SEED)
    expected = plan.fill(kernel.path, dtype="bfloat16").astype(np.float32)
    np.testing.assert_array_equal(values(kernel), expected)


if __name__ == "__main__":
    check_models()
    check_warnings()
    check_initializers()
    check_errors()
    if keras.backend.backend() == "jax":
        check_distribution()
    print("right")
