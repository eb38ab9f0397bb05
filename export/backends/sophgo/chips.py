"""Which chips share a compiler backend, and with it their limits."""

CV18XX = ("cv181x", "cv180x", "cv183x")  # the first generation of CVITEK's TPU
BM = ("cv184x", "bm1684x", "bm1688")  # the TPU of Sophgo's own chips; the cv184x has it too

# What becomes of an operator, as rules say it.
REFUSED = "the compiler refuses it"
WRONG = "the chip's simulator computes something else, without a word"
