"""A project's runs on wandb as a saved workspace and a report: built and written to files without an account."""
