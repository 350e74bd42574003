"""How far figures could be off by the chance of which patients were there."""
