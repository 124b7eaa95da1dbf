"""Learned feature weights: descent on the KL by what every input feature is worth. Entry: `learning.learn`."""
