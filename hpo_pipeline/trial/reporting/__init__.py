"""What a trial and the outside say to each other while it runs, and what is logged of it."""
