"""Teachers: models that yield a signal a student learns from."""
