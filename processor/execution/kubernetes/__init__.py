"""The phases of a run as Indexed Jobs of a Kubernetes cluster."""
