"""What every test can ask for, and how properties are tried."""

from hypothesis import HealthCheck, settings

pytest_plugins = ["tests.support.database"]

# How long an example takes says something of the machine, and nothing of the code.
settings.register_profile("guilder", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("guilder")
