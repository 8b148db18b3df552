"""What steps hand each other, a noun a file: each the `Out` of one step and the `In` or `Live` of others."""
