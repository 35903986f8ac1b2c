"""What everything stands on: money, currencies, refusals."""
