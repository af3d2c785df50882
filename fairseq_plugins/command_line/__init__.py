"""fairseq's command line: configs that become flags, and refusals of one line."""
