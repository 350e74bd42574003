"""What drives the commands of all packages: the demo and the measurements."""
