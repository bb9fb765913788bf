"""Expert preferences: a choice among alternatives, learned by comparison."""
