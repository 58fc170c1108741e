"""Which rows are drawn, in which order, by which task. Pure: arrays in, arrays out, no files, no clocks."""
