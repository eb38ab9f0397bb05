"""Pre-processing and decoding in NumPy alone: what a board's CPU does around the network."""
