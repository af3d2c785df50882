"""Scores, comparisons over seeds, reports and curves: what a trained student is worth."""
