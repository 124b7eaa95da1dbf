"""Text that allocators run the model on, and the count of what that costs."""
