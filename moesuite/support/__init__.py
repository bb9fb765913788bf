"""Which models of timm and transformers are supported: small ones of every family are tried."""
