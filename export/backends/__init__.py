"""One folder a vendor: its targets, lint rules, worker, requirements and templates."""
