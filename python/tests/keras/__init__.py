"""Tests of `fanin.keras`."""
