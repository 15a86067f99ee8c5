"""Hub folders and model cards."""
