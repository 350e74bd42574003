"""Events in time: long recordings to a probability track per label, to events with onset and offset, and their scores."""
