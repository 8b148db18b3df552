"""A job becomes a plan or a run: nodes looked at, done, recorded, resumed and torn down."""
