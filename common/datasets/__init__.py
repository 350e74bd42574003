"""Dataset adapters: each yields clips, and nothing after it knows which dataset they came from."""
