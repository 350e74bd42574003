"""Stage one: an encoder learns from unlabelled recordings by contrasting views of them."""
