"""The chapter's open questions, each answered by small trainings that change one thing."""
