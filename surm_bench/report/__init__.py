"""Tables and figures from records and published values: records → frames → tables, figures, console. Without torch."""
