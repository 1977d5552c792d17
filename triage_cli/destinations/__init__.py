"""Destinations of deliveries: files, commands, webhooks, HTTP requests and mail."""
