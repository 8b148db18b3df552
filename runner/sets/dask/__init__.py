"""Children on other machines: a Dask cluster carries orders to its workers, and what comes of them back.

Dask decides nothing here. No task is submitted to it: its scheduler would run a lost one again by itself,
leave one that is pinned to a worker's former address pending for ever, and can neither cancel one that runs
nor remember any after its own end. What is used of it are its membership, its mutual TLS, calls to a worker,
and events."""
