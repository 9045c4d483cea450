"""Deterministic simulation: the real code, on a virtual network, in virtual time. See `explore.py`."""
