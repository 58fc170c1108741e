"""Engines run numbered jobs of any kind and know no build: local processes now."""
