"""The upload of what wandb recorded offline."""
