"""From lm-eval tasks and local files to rows of the table `samples`."""
