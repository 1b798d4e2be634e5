"""The methods that are compared: one record each."""
