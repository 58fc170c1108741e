"""Text -> token ids: the tokenizer, its encoders, and the check against the reference implementation."""
