"""The embedded reference model: trained from scratch on the model-training split of the embedded benchmark."""
