"""Engines run numbered jobs of any kind, independent of builds; today in local processes."""
