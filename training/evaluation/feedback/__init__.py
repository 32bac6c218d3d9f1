"""Score the answers of a server by the feedback that users gave."""
