"""Metrics of samples of the rows, from what each row adds to them: a module a form of rows."""
