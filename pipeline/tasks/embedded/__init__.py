"""The embedded benchmark: generated tasks whose computation, template and length are known exactly."""
