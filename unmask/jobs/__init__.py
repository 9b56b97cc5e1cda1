"""Jobs: the only place where the loop meets the run folder."""
