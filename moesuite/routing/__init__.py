"""Routing: the router contract, the forms of a decision, and functions that routers share."""
