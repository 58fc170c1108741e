"""Text -> token ids: the tokenizer, its engines, and the check against the reference implementation."""
