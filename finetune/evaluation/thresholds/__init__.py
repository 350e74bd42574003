"""From which probability on a label is called present, or a class chosen."""
