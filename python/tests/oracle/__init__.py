"""Compares recordings of models with the models that torch constructs."""

import os

# Before transformers is imported anywhere below: no test may wait for a network.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
