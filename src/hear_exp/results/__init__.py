"""What a run found: the result, its files, its place on the leaderboard, and where it is recorded."""
