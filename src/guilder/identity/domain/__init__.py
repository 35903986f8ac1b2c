"""What is true of people, sessions and second factors, decided without a database. Pure."""
