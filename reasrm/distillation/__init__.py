"""From what a teacher wrote to what a judge learns."""
