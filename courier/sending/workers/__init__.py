"""Work of a build that is done by other processes, on this computer or on others (decision 0037)."""
