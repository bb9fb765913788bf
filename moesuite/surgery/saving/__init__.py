"""What saving and loading consist of: files, the check of both, Hugging Face's folders."""
