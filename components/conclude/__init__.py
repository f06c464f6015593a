"""conclude: what came of a retraining is recorded on the champion, and why."""
