"""`laneb run`: the whole graph, in order, on the persistent instance, without a server."""
