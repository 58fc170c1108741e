"""The command line: one file per verb. A verb imports heavy packages only when it runs."""
