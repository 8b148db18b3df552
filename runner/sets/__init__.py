"""One job for many items: which they are, when each may begin (limits), and where it
runs (processes here, Dask).

It knows nothing of vSphere: what an item is, and what it takes of which limit, a section says."""
