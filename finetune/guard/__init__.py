"""The split guard: what crosses a fold's border and would flatter the figures, found before anything is trained."""
