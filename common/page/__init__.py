"""What pages for people share: one look, one way to write numbers, pictures inside the file."""
