"""Results for people: a run's table and pictures, and all runs side by side."""
