"""Optimizer steps without the overhead of Lightning and autograd."""
