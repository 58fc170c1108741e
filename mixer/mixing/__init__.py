"""The draws: which rows, in which order, in which task. Pure: arrays in, arrays out, no files, no clocks."""
