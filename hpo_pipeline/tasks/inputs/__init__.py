"""What goes into a model: the base model's config and tokenizer, rows of tokens, scaled pixels."""
