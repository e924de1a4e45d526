"""The fast path: optimizer steps without the overhead of Lightning's loop and autograd."""
