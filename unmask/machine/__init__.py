"""What this machine can do: ``plan`` times real steps and says what a pre-training would take."""
