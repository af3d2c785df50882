"""Pre-trained encoders of Hugging Face: loading them, running them layer by layer, reading their insides."""
