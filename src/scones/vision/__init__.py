"""Vision: the model, its training and its export; torch lives here alone."""
