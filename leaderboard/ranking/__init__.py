"""Entries -> boards: contestants, comparisons, orders, claims."""
