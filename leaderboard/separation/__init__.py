"""What tasks tell of routers: pairs that separate, and what each router is good and bad at."""
