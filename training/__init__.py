"""Training: one screen a family, beside one shared loop (:mod:`edgeark.training.loop`)."""
