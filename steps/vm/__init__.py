"""What a vCenter and a repository tell together of one VM: which it is, whether its vCenter was
rebuilt, whether its tracking was reset."""
