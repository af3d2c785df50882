"""Students that the library brings itself."""
