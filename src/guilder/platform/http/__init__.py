"""HTTP for every context: routes as data, strict bodies, one envelope, one table of statuses."""
