"""The HTTP endpoints: metrics, health, readiness, the page and the API."""
