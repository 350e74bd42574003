"""The bundle: one folder with a model in the kinds of file that services load, and how it is checked on the machine that loads it."""
