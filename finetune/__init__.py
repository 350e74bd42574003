"""Stage two: fold by fold the encoder becomes a classifier, is judged out of fold, and leaves as one file."""
