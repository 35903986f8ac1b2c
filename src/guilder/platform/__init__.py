"""What every context stands on: database, HTTP, settings, keys, outbox. It knows no business."""
