"""The schema ``identity``, step by step."""
