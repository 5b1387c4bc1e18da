"""Random faults over every function that reads or writes files: `make torture`."""
