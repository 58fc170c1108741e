"""What the servers and their clients agree on."""

ACCESS_KEY = "test-key"
SECRET_KEY = "test-secret"
REGION = "us-east-1"
