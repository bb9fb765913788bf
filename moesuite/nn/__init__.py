"""The MoE layer: router -> routing -> dispatch -> experts -> combine."""
