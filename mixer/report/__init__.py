"""Text for people: tables, sentences, sequences, progress. No parsing, no work."""
