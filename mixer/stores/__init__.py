"""Bytes at addresses: the Hugging Face hub, S3, Google Cloud Storage, web servers. Nothing here depends on rows."""
