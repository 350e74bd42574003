"""What predictions are worth: of one label, over classes, per fold, patient and group."""
