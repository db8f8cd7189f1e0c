"""Tests of `fanin.jax`, on eight devices that XLA makes of one processor."""
