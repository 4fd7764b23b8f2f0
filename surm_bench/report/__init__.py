"""Tables and figures from records alone: records → frames → tables, figures, console. No torch in this room."""
