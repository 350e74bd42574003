"""Made recordings: patients with breath noise, wheezes and crackles, for the demo and the tests, where real ones cannot travel."""
