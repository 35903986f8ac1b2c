"""The SQL of webhooks. Whoever writes deliveries has locked their endpoints' rows first."""
