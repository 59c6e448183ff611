"""A predictor searched on embeddings: protocol, grid, fits and their search; knows no files of a run."""
