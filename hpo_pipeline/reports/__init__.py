"""What people see: terminal tables, the HTML page, Markdown, and the model card."""
