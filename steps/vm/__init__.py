"""What a vCenter and a repository tell together of one VM: which it is, whether it was rebuilt, whether its
tracking was reset."""
