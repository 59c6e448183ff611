"""A HEAR task: its folder, audio and targets, doubts about its data, and the demo tasks."""
