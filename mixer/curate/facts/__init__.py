"""Facts of rows that cost reading the text: computed once, chunk by chunk, kept, and used by every curation after."""
