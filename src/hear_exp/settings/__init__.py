"""From the composed config to the objects of a run; checks that need no torch come first."""
