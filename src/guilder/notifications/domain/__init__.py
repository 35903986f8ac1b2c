"""Pure decisions of notifications: who is told what, when it may be sent, how often it is tried."""
