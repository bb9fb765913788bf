"""Paired differences, equivalence and orders. Pure functions of numbers; no torch."""
