"""One dense pass over the samples: score histograms and signatures. Entry: `capture.capture`."""
