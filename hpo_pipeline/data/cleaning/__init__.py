"""From the values of a file to inputs and labels, and what becomes of the rows that are neither."""
