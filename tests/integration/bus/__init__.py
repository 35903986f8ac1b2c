"""The bus on a real PostgreSQL: order, exactly once, parking, several workers, faults."""
