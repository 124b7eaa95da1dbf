"""The report in sentences made from findings by stated rules."""
