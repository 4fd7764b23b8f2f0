"""What is done with the model of a finished run: scored again, asked, and exported. Nothing here trains."""
