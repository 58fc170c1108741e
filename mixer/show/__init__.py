"""What people read: tables, words, sequences and progress; no parsing, no work."""
