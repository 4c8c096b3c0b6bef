"""What is seen: data sets as records, their sources, and batches as a pure function of seed, epoch and index."""
