"""What people read: tables, sentences, sequences, progress. No parsing, no work."""
