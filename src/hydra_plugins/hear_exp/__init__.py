"""Our plugins for Hydra, which finds them here: a sweeper that can go on, and launchers that lose no job."""
