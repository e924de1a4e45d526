"""Devices, the processes that train on them, and their shutdown by signals."""
