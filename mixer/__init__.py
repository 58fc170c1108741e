"""mixer: decide, build and feed the data mixture of a language model."""

__version__ = "0.1.0"
