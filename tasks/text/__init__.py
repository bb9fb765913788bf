"""What text families share: corpora, tokenizers, encoders."""
