"""More training data for a teacher to label, made from the data at hand."""
