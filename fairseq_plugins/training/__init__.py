"""Parts of a training that no task has for itself: its arithmetic and the checkpoint it starts from."""
