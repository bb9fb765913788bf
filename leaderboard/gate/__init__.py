"""Figures that no run can have: records that contradict themselves or their configuration are refused."""
