"""Running text for masked language models: where it is read from, kept in pieces, and hidden."""
