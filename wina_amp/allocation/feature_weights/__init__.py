"""Learned feature weights: descent on the KL by the weight of every input feature. Entry: `learning.learn`."""
