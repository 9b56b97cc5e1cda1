"""The birth of a model, watched over the snapshots of its pre-training: what it learns when, and what that is worth."""
