"""Whole texts translated: batches, shards, choice among hypotheses, filters, manifests."""
