"""Tests of `moesuite.recommend`."""
