"""Channels: how messages reach people. Each one implements `guilder.notifications.api.Sender`."""
