"""The router's certificate: how a router behaves, measured."""
