"""Two or more runs on the same clips, compared patient by patient."""
