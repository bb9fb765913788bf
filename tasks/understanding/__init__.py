"""Sentence understanding: GLUE and SuperGLUE."""
