"""CloudWatch's metrics as a service of the front door."""
