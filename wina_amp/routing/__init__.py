"""From a prompt to the group whose profile it runs with: the router, what it reads, and routing at run time."""
