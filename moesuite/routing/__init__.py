"""What a router decides: its contract, the forms of a routing, and the pure functions that routers share."""
