"""Training that is saved, and resumes to the last digit."""
