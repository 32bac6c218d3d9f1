"""How a run recognises what an earlier run has scored already."""
