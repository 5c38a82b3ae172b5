"""The artefact of a trial: the trained model in the form in which it is served."""
