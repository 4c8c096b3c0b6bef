"""Weights in and out: readers that execute nothing, layouts that name tensors, a transfer that is strict."""
