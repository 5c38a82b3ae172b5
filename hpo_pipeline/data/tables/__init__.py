"""From files, folders, archives and data sets of a hub to tables of input and label."""
