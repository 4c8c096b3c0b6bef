"""A trained network -> a predictor."""
