"""Files in the formats of fairseq, read and written without fairseq: checkpoints and binarised corpora."""
