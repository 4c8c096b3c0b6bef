"""(model, batches) -> numbers. No files, no plots."""
