"""Tests of `fanin.torch`."""
