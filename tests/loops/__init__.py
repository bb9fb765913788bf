"""Tests of training loops of others."""
