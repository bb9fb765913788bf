"""Boards -> pages: payload, templates, exports, and the folder that they are written to."""
