"""How a run is done: its phases and tasks, in this process, by many, or as Kubernetes Jobs."""
