"""The page: recordings judged in a browser. It talks to services over ``/v1`` only, and no service imports it."""
