"""Training on 60 to 500 photos with the defaults of `quincunx train`."""
